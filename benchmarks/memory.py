"""Memory and time per rank of an update: ZeRO-3 on 1 and 2 ranks, logits in slices, images and prompts read once.

    python benchmarks/memory.py [--only NAME ...] [--runs DIR [--read]] [--json FILE] [section.key=value ...]

Each row is a process of its own per rank, started by the `deepspeed` launcher, that does `Policy.update` and nothing
else: no vLLM, no judge. The policy has random weights in float32 and the demo's architecture, with Qwen's vocabulary of
151,936 words, for which logits are what fills memory. Studies, candidates and their rewards are random, the same in
every row; 2 ranks share them. The gradient norm of each row must be that of the first; with LoRA, which trains other
parameters, that of LoRA on 1 rank.

    weights  resident memory that the policy holds between updates, over what the process held before it was loaded:
             weights, gradients, AdamW's states, communication buffers
    update   highest resident memory during one further update, over that
    seconds  of that update

Both are read from /proc/self/status (VmRSS, VmHWM; the kernel's high-water mark is set back through
/proc/self/clear_refs before the update), with glibc told to hand every block of 1 MiB or more back at once
(MALLOC_MMAP_THRESHOLD_), so that resident memory is what tensors take. Without a GPU there is nothing finer; on one,
torch.cuda.max_memory_allocated would be. The row `logits of every token` is what a trainer does that calls the model as
it stands: logits over prompts too. A row whose figures are in DIR already is read, not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import command_line, machine

ROOT = Path(__file__).resolve().parent.parent
VOCABULARY, PROMPT, COMPLETION = 151_936, 128, 64
STUDIES, GROUP, ROWS = 4, 8, 16  # per step over all ranks, candidates per study, candidates per pass
MIB = 2**20

BASE = (
    "model.dtype=float32",
    f"rollout.studies_per_step={STUDIES}",
    f"rollout.group_size={GROUP}",
    f"rollout.max_model_len={PROMPT + COMPLETION}",
    f"rollout.max_completion_tokens={COMPLETION}",
    f"train.micro_batch_tokens={ROWS * (PROMPT + COMPLETION)}",
    "debug.persistence_threshold=10000",
)
WHOLE, EVERY_PASS, OWN_PROMPTS = "train.logits_chunk=0", "debug.image_features_once=false", "debug.share_prompts=false"
SLICES = "train.logits_chunk=64"
LORA = "LoRA"
# name -> settings; the first is the yardstick of the others. Every one runs on 1 and on 2 ranks.
VARIANTS: dict[str, tuple[str, ...]] = {
    "logits of every token": (WHOLE, EVERY_PASS, OWN_PROMPTS),
    "logits of completions": (WHOLE, EVERY_PASS, OWN_PROMPTS),
    "in slices of 64": (SLICES, EVERY_PASS, OWN_PROMPTS),
    "images seen once": (SLICES, OWN_PROMPTS),
    "prompts shared": (SLICES,),
    "gradient checkpointing": (SLICES, "model.gradient_checkpointing=true"),
    LORA: (SLICES, "model.gradient_checkpointing=true", "model.lora.rank=8"),
}


def make_policy(folder: Path) -> None:
    """The demo's architecture with a large vocabulary and a vision encoder that is not free."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig

    torch.manual_seed(0)
    config = Idefics3Config(
        vision_config={
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "image_size": 224,
            "patch_size": 14,
        },
        text_config=LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=6,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=0,
            tie_word_embeddings=True,
        ),
        image_token_id=1,
        scale_factor=4,  # 256 patches, 16 tokens
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    Idefics3ForConditionalGeneration(config).save_pretrained(folder)


def make_batch(rank: int, ranks: int) -> Any:
    """This rank's share of the same random candidates."""
    import torch

    from online_rl.algorithms import LearnBatch
    from online_rl.data.study import Study
    from online_rl.rollout.types import Completion, Prompt

    draw = random.Random(0)
    units, advantages = [], []
    for group in range(STUDIES):
        ids = tuple([1] * 16 + [draw.randrange(2, VOCABULARY) for _ in range(PROMPT - 16)])
        pixels = torch.randn(1, 1, 3, 224, 224, generator=torch.Generator().manual_seed(group))
        prompt = Prompt(Study(f"s{group}", f"p{group}", (), "", ""), "", (), ids, {"pixel_values": pixels})
        for i in range(GROUP):
            made = tuple(draw.randrange(2, VOCABULARY) for _ in range(COMPLETION))
            advantage = draw.uniform(-1, 1)
            if group * ranks // STUDIES == rank:
                units.append((Completion(group, i, prompt, made, (-11.9,) * COMPLETION, "", False),))
                advantages.append(advantage)
    return LearnBatch(units, advantages, 1, units[0][0])


def resident(key: str = "VmRSS") -> int:
    """Bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}")


def child(folder: Path, name: str, overrides: list[str]) -> None:
    """One rank of one row: writes its figures to `folder`/result.json."""
    from online_rl.environment import prepare_environment

    prepare_environment()
    from online_rl.algorithms import make_algorithm
    from online_rl.config import load_config
    from online_rl.policy.deepspeed import init_ranks
    from online_rl.policy.engine import Policy
    from online_rl.ranks import collectives

    cfg = load_config(ROOT / "configs" / "demo_grpo.yaml", overrides)
    init_ranks(cfg)
    import transformers.models.idefics3.modeling_idefics3  # noqa: F401 so that it is not counted

    before = resident()
    policy = Policy(str(folder / "policy"), cfg, make_algorithm(cfg), [1], 0)
    if name == "logits of every token":
        _with_all_logits(policy.engine.module)
    batch = make_batch(collectives.rank(), collectives.world_size())
    norms = [policy.update(batch, step=60)["grad_norm"]]  # AdamW's states are made in here
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to what is resident now
    kept, start = resident(), time.perf_counter()
    norms.append(policy.update(batch, step=60)["grad_norm"])
    seconds = time.perf_counter() - start
    result = {"weights": kept - before, "update": resident("VmHWM") - kept, "seconds": seconds, "grad_norm": norms[0]}
    everyone = collectives.gather(result)
    if collectives.rank() == 0:
        worst = {key: max(one[key] for one in everyone) for key in result}
        (folder / "result.json").write_text(json.dumps(worst))
    collectives.barrier()


def _with_all_logits(module: Any) -> None:
    """Log-probabilities from the logits of every token, as `model(**inputs).logits` gives them."""
    import torch

    def token_statistics(batch: Any) -> Any:
        logits = module.hf(**batch.inputs, use_cache=False).logits.float()  # (B, L, V)
        logits = logits.index_fill(2, torch.tensor(module.banned_ids), float("-inf"))
        logp = torch.log_softmax(logits[:, :-1], -1).gather(2, batch.ids[:, 1:, None])[..., 0]  # (B, L - 1)
        live = batch.mask.bool()
        row, position = batch.predictors // batch.ids.shape[1], batch.predictors % batch.ids.shape[1]
        whole = torch.zeros_like(batch.mask).masked_scatter(live, logp[row, position])
        return whole, torch.zeros_like(whole)

    module.token_statistics = token_statistics


def measure(folder: Path, name: str, ranks: int, settings: list[str]) -> dict[str, float]:
    kept = _kept(folder, ranks, name)
    if not kept.exists():
        _start(folder, name, ranks, settings)
        (folder / "result.json").rename(kept)
    return json.loads(kept.read_text())


def _kept(folder: Path, ranks: int, name: str) -> Path:
    return folder / f"{ranks}_{name.replace(' ', '_')}.json"


def _start(folder: Path, name: str, ranks: int, settings: list[str]) -> None:
    launcher = str(Path(sys.executable).parent / "deepspeed")
    own = [str(Path(__file__).resolve()), "--child", str(folder), name, *settings]
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))}
    env |= {"MALLOC_MMAP_THRESHOLD_": str(2**20), "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [launcher, "--num_accelerators", str(ranks), *own],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name}, {ranks} rank(s): exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| ranks | update | weights, MiB | update, MiB | seconds | gradient norm |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r['ranks']} | {r['name']} | {r['weights'] / MIB:,.0f} | **{r['update'] / MIB:,.0f}** | {r['seconds']:.1f} "
        f"| {r['grad_norm']:.6f} |"
        for r in rows
    ]
    return "\n".join(lines)


def _difference(rows: list[dict[str, Any]]) -> float:
    """The largest relative one of the gradient norms, to the first."""
    return max((abs(row["grad_norm"] / rows[0]["grad_norm"] - 1) for row in rows), default=0.0)


def main() -> int:
    from runs import keep  # not in the ranks, whose memory is measured

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, help="these rows")
    parser.add_argument("--runs", metavar="DIR", help="keep policy and figures here; otherwise they are removed")
    parser.add_argument("--read", action="store_true", help="measure nothing: the table of what lies in --runs")
    parser.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    arguments = parser.parse_intermixed_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.runs or temporary).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "policy").is_dir():
            make_policy(folder / "policy")
        for ranks in (1, 2):
            for name, own in VARIANTS.items():
                if arguments.only and name not in arguments.only:
                    continue
                if arguments.read and not _kept(folder, ranks, name).exists():
                    continue
                found = measure(folder, name, ranks, [*BASE, *own, *arguments.overrides])
                rows.append({"ranks": ranks, "name": name, "settings": own, **found})
                print(table(rows[-1:]).splitlines()[-1], flush=True)
    same = max(_difference([row for row in rows if (row["name"] == LORA) is adapters]) for adapters in (False, True))
    where, command = machine(), command_line()
    peaks = {row["name"]: row["update"] for row in reversed(rows)}  # of 1 rank
    known = "logits of completions" in peaks and "prompts shared" in peaks
    ratio = peaks["prompts shared"] / peaks["logits of completions"] if known else None
    text = (
        "# Memory of an update\n\n"
        f"`{command}` on {where['cpu']}, {where['cores']} cores, Python {where['python']}.\n"
        f"A random policy with a vocabulary of {VOCABULARY:,}; {STUDIES} studies x {GROUP} candidates of {COMPLETION} "
        f"tokens behind prompts of {PROMPT}, {ROWS} candidates per pass; per rank, the larger of the ranks. What the "
        f"columns mean is told in [memory.py](../memory.py).\n\n{table(rows)}\n\n"
        f"Largest relative difference of the gradient norms: {same:.1e}.\n"
    )
    result = {"machine": where, "command": command, "ratio": ratio, "grad_norm_difference": same, "rows": rows}
    keep("memory", text, result, arguments.json)
    return 0 if same < 1e-4 else 1


if __name__ == "__main__":
    if "--child" in sys.argv:  # the launcher adds --local_rank=N before
        at = sys.argv.index("--child")
        child(Path(sys.argv[at + 1]), sys.argv[at + 2], sys.argv[at + 3 :])
        sys.stdout.flush()
        os._exit(0)
    sys.exit(main())
