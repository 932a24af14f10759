"""The parts of the check: `python -m benchmarks.gpu_check.parts NAME`. The last line of stdout is JSON.

engine     Qwen2.5-VL's shape in bfloat16 with CUDA graphs, built after the policy: sleep, reload, wake
training   the demo, six steps in either precision: how far trainer and vLLM differ, saving and resuming
attention  ten new lengths with cuDNN's attention on, off, and padded to multiples of 128; a row that a group shares,
           under one mask and in blocks
size       a random Qwen2.5-VL-3B, written on the spot: three steps, seconds by phase and peak memory
judge      a small GREEN server that shares the GPU: sleep, wake, and how much of the GPU's memory that takes meanwhile

It cannot show several ranks, NCCL, or another torch than the one that is there.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = (
    "torch",
    "transformers",
    "vllm",
    "deepspeed",
    "msgspec",
    "zmq",
    "xgrammar",
    "online_rl.build",
    "judges.green",
)
CYCLES, STEPS, SIZE_STEPS, STUDIES = 3, 6, 3, 8
GIB = 2**30
QWEN_3B = {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16}
QWEN_3B |= {"num_key_value_heads": 2, "max_position_embeddings": 32768}
MROPE = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}


def engine(folder: Path) -> dict[str, Any]:
    import torch

    from online_rl.algorithms import make_algorithm
    from online_rl.config import config_from_dict
    from online_rl.policy.deepspeed import init_ranks, torchs_own_linear
    from online_rl.policy.engine import Policy
    from online_rl.policy.load import read_policy
    from online_rl.policy.model import banned_token_ids
    from online_rl.rollout.engine import RolloutEngine
    from online_rl.rollout.prompts import PromptBuilder
    from tests.shapes import SHAPES

    path = str(folder / "base")
    SHAPES["qwen2_5_vl"](folder / "base")
    rollout = {"group_size": 4, "max_model_len": 512, "max_completion_tokens": 32, "gpu_memory_utilization": 0.3}
    cfg = config_from_dict({"model": {"path": path, "dtype": "bfloat16"}, "rollout": rollout})
    init_ranks(cfg)
    model_config, processor = read_policy(path, cfg)
    banned = banned_token_ids(model_config, processor.tokenizer)
    policy = Policy(path, cfg, make_algorithm(cfg), banned, 0)
    with torchs_own_linear():
        served = RolloutEngine(path, cfg, processor, banned)
    not_found = served.locate(policy.all_weights())
    prompts = [PromptBuilder(processor, cfg).build(study) for study in made_up_studies(4)]

    def greedy() -> list[tuple[int, ...]]:
        rollouts = served.greedy(prompts)
        list(rollouts)
        return [group[0].ids for group in rollouts.groups]

    first, found = greedy(), {"weights_not_found": len(not_found)}
    freed, seconds, same = [], [], True
    for _ in range(CYCLES):
        before, start = torch.cuda.mem_get_info()[0], time.perf_counter()
        served.sleep()
        freed.append((torch.cuda.mem_get_info()[0] - before) / GIB)
        served.wake("weights")
        served.load_weights(policy.all_weights(), policy.version)
        served.verify(policy.all_weights())
        served.wake("kv_cache")
        seconds.append(time.perf_counter() - start)
        same = same and greedy() == first
    found |= {"greedy ids as before": same, "GiB freed": min(freed)}
    found |= {"seconds of a cycle, first and last": [round(seconds[0], 2), round(seconds[-1], 2)]}
    return found


def training(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for dtype in ("bfloat16", "float32"):
        run = folder / dtype
        settings = [f"run.dir={run}", f"model.dtype={dtype}", f"train.max_steps={STEPS}", "train.save_every=3"]
        settings += ["eval.studies=16", "scoring.price_studies=0", "demo.studies=200", "resume=auto"]
        command = [sys.executable, "-m", "online_rl.train", "--config", str(ROOT / "configs/demo_grpo.yaml"), *settings]
        codes = [
            subprocess.run([*command, *more], stdout=sys.stderr).returncode for more in (["train.stop_after=3"], [])
        ]
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        apart = [row["sampling/sampling_logp_difference/mean"] for row in rows if "learning_rate" in row]
        found |= {f"{dtype}: exit codes, stopped (75) and resumed (0)": codes, f"{dtype}: nats apart by step": apart}
    return found


def attention(folder: Path) -> dict[str, Any]:
    import torch

    def seconds(lengths: list[int], with_cudnn: bool) -> float:
        torch.backends.cuda.enable_cudnn_sdp(with_cudnn)
        torch.cuda.synchronize()
        start = time.perf_counter()
        for length in lengths:
            q, k, v = (torch.randn(4, 16, length, 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))
            torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds([1024], True), seconds([1024], False)  # contexts and libraries
    new = [1031 + 97 * i for i in range(10)]
    return {
        "ms per new length, cuDNN on": 100 * seconds(new, True),
        "the same lengths again": 100 * seconds(new, True),
        "ms per new length, cuDNN off": 100 * seconds([n + 5 for n in new], False),
        "ms, padded to multiples of 128": 100 * seconds([-(-n // 128) * 128 for n in new], True),
        **shared_row("cuda", prompt=1500, completion=300, group=8),
    }


def shared_row(device: str, prompt: int, completion: int, group: int, heads: int = 16) -> dict[str, float]:
    """A group's row as a 3B policy attends in it, forward and backward: under one mask over the row, and in blocks."""
    import torch

    from online_rl.policy.engine import LENGTHS_ON_GPU
    from online_rl.policy.passes.branch_attention import attend, lay_out
    from online_rl.policy.passes.shared_prompts import tree_mask

    length = prompt + group * completion
    branches = [0] * prompt + [k for k in range(1, group + 1) for _ in range(completion)]
    branch = torch.tensor([branches + [-1] * (-length % LENGTHS_ON_GPU)], device=device)
    mask = tree_mask(branch)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    query, key, value = (
        torch.randn(1, n, branch.shape[1], 128, device=device, dtype=dtype).requires_grad_() for n in (heads, 2, 2)
    )
    layer = torch.nn.Module()
    layer.num_key_value_groups = heads // 2
    synchronize = torch.cuda.synchronize if device == "cuda" else lambda: None
    found = {}
    for name, at in {"one mask": None, "blocks": lay_out(branch, LENGTHS_ON_GPU)}.items():
        for turn in range(4):
            if turn == 1:  # the first one plans
                synchronize()
                start = time.perf_counter()
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            attend(layer, query, key, value, mask, branch_layout=at)[0].sum().backward()
        synchronize()
        found[f"ms, a shared row in {name}"] = 1000 * (time.perf_counter() - start) / 3
        if device == "cuda":
            found[f"peak MiB, a shared row in {name}"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def size(folder: Path) -> dict[str, Any]:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    import online_rl
    from tests.shapes import SHAPES

    base = folder / "base"
    SHAPES["qwen2_5_vl"](base)  # its processor; the weights are replaced
    config = AutoConfig.from_pretrained(base)
    for name, value in (QWEN_3B | {"rope_scaling": MROPE, "rope_parameters": MROPE}).items():
        setattr(config.text_config, name, value)
    config.vision_config.out_hidden_size = QWEN_3B["hidden_size"]
    with torch.device("cuda"):
        model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(base)
    parameters = sum(p.numel() for p in model.parameters())
    del model
    torch.cuda.empty_cache()
    result = online_rl.train(
        {
            "run": {"dir": str(folder / "run")},
            "model": {"path": str(base), "gradient_checkpointing": True},
            "rollout": {"studies_per_step": STUDIES, "max_model_len": 1024, "max_completion_tokens": 128},
            "train": {"max_steps": SIZE_STEPS, "save_every": 1000, "micro_batch_tokens": 8192},
            "eval": {"studies": 4, "image_check": "never"},
            "scoring": {"price_studies": 0},
        },
        studies=made_up_studies(4 * STUDIES),
    )
    times = {name: value for name, value in result.metrics[-1].items() if name.startswith("time/")}
    return {"parameters": parameters, **times, "peak GiB allocated": torch.cuda.max_memory_allocated() / GIB}


def judge(folder: Path) -> dict[str, Any]:
    import asyncio

    import torch

    from judges import Case
    from judges.green.judge import GreenJudge
    from judges.green.shapes import write_checkpoint

    write_checkpoint(folder / "green", "20M", dtype="float16")
    served = {"extra": ["--gpu-memory-utilization", "0.2"]}
    small = {"constrain": "always", "item_characters": 8, "cache": False}
    green = GreenJudge(model=str(folder / "green"), place="shared", server=served, start_s=45, **small)
    free = lambda: torch.cuda.mem_get_info()[0] / GIB  # noqa: E731
    try:
        green.start()
        cases = [Case("s", f"the lungs are clear. {i}", "the lungs are clear.") for i in range(8)]
        scored = sum(score.value is not None for score in asyncio.run(green.score(cases)))
        found: dict[str, Any] = {"scored of 8": scored, "GiB free, awake": free()}
        for action in ("sleep", "wake"):
            start = time.perf_counter()
            getattr(green, action)()
            found |= {f"seconds to {action}": time.perf_counter() - start, f"GiB free after {action}": free()}
        again = sum(score.value is not None for score in asyncio.run(green.score(cases)))
        return found | {"scored of 8 after waking": again}
    finally:
        green.close()


def made_up_studies(count: int) -> list[Any]:
    """Studies with a grey ramp as image. Nobody's."""
    import io

    from PIL import Image

    from online_rl.data.study import Study

    image = io.BytesIO()
    Image.linear_gradient("L").save(image, "PNG")
    return [
        Study(f"s{i}", f"p{i}", (image.getvalue(),), "cough", f"the lungs are clear. no effusion. {i}")
        for i in range(count)
    ]


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "engine": engine,
    "training": training,
    "attention": attention,
    "size": size,
    "judge": judge,
}


def main() -> int:
    from online_rl.environment import prepare_environment

    prepare_environment()
    missing = []
    for name in IMPORTS:
        try:
            importlib.import_module(name)
        except ImportError as problem:
            missing.append(f"{name}: {problem}")
    import torch

    if missing or not torch.cuda.is_available():
        print(json.dumps({"state": "needs a GPU", "cannot import": missing}))
        return 1 if missing else 0
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        print(json.dumps(PARTS[sys.argv[1]](Path(folder))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
