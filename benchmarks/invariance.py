"""Does the way a batch is laid out change what is learned? Ten steps through the command line, laid out in many ways.

    python benchmarks/invariance.py [--steps N] [--only NAME ...] [--runs DIR] [--json FILE] [section.key=value ...]

Each row is a run of `online_rl.train` in float32 on the demo, started as users start it, with another number of ranks,
token budget, slice of the logits, treatment of images, prompts or activations. All learn from two passes over each
step's candidates, GRPO with a KL term, so that the loss is not 0 by construction. Gradient norm and loss of every step
are compared with those of the same algorithm's first row; `gradient norm` is the largest relative difference over the
steps, `loss` the largest absolute.
GRPO's loss is a mean over tokens of terms as large as the advantages, about 1, which nearly cancel: that is its scale
in float32, and what is left of it, printed below the table, is small. The policy moves, at a tenth of the demo's
learning rate: AdamW turns the rounding of gradients near zero into whole updates, so two runs drift apart, and at the
demo's own rate (`train.learning_rate=1e-4`) the drift of the ten steps reached 2e-5 of the gradient norm.

That only means something while all runs sample the same candidates. vLLM samples with the same seeds in every run, but
its log-probabilities differ in the seventh digit when the batch does, and a token that is drawn at the edge of two can
tip. So the step of the first difference (in the reward or the number of tokens) is found for each run, and the
comparison ends before it; the table says how many steps that left. A run that is in DIR already is read, not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import command_line, machine, write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
GOAL = 1e-5
SETTINGS = (
    "model.dtype=float32",
    "train.learning_rate=1e-5",
    "rollout.studies_per_step=4",
    "rollout.group_size=4",
    "rollout.max_completion_tokens=48",
    "algorithm.grpo.kl_coef=0.05",
    "train.passes=2",
    "eval.studies=2",
    "monitor.samples=0",
)
DPO = "algorithm.name=online_dpo"
# name -> ranks, settings; what stands before a colon is the algorithm, GRPO where there is none
RUNS: dict[str, tuple[int, tuple[str, ...]]] = {
    "1 rank": (1, ()),
    "1 rank, small passes": (1, ("train.micro_batch_tokens=256",)),
    "1 rank, slices of 7 tokens": (1, ("train.logits_chunk=7",)),
    "1 rank, images in every pass": (1, ("debug.image_features_once=false",)),
    "1 rank, every candidate behind its own prompt": (1, ("debug.share_prompts=false",)),
    "1 rank, gradient checkpointing": (1, ("model.gradient_checkpointing=true",)),
    "2 ranks": (2, ()),
    "2 ranks, nothing kept whole": (2, ("debug.persistence_threshold=0",)),
    "2 ranks, all of it": (
        2,
        (
            "train.micro_batch_tokens=300",
            "train.logits_chunk=16",
            "debug.image_features_once=false",
            "debug.share_prompts=false",
            "model.gradient_checkpointing=true",
            "debug.persistence_threshold=0",
        ),
    ),
    "online DPO: 1 rank": (1, (DPO,)),
    "online DPO: 2 ranks, every candidate behind its own prompt": (2, (DPO, "debug.share_prompts=false")),
}


def first_of(name: str) -> str:
    """The row that a row is compared with: the first of its algorithm."""
    return next(row for row in RUNS if row.rpartition(":")[0] == name.rpartition(":")[0])


def train(folder: Path, ranks: int, settings: list[str]) -> list[dict[str, Any]]:
    """The steps' metrics of one run; of one that is finished already, without repeating it."""
    if not (folder / "model").is_dir():
        _run(folder, ranks, settings)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if not line.get("eval")]


def _run(folder: Path, ranks: int, settings: list[str]) -> None:
    arguments = ["--config", str(ROOT / "configs" / "demo_grpo.yaml"), *settings, f"run.dir={folder}"]
    command = [sys.executable, "-m", "online_rl.train", *arguments]
    if ranks > 1:
        launcher = str(Path(sys.executable).parent / "deepspeed")
        command = [launcher, "--num_accelerators", str(ranks), "--module", "online_rl.train", *arguments]
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))}
    with folder.with_suffix(".log").open("wb") as log:
        done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{folder.with_suffix('.log').read_text()[-3000:]}")


def same_samples(first: list[dict[str, Any]], other: list[dict[str, Any]]) -> int:
    """Number of steps before the first whose candidates differ."""
    for i, (a, b) in enumerate(zip(first, other, strict=True)):
        if a["num_tokens"] != b["num_tokens"] or abs(a["reward"] - b["reward"]) > 1e-9:
            return i
    return len(first)


def compare(first: list[dict[str, Any]], other: list[dict[str, Any]]) -> dict[str, float]:
    steps = same_samples(first, other)
    pairs = list(zip(first[:steps], other[:steps], strict=True))
    return {
        "same_samples": steps,
        "grad_norm": max((abs(a["grad_norm"] / b["grad_norm"] - 1) for a, b in pairs), default=float("nan")),
        "loss": max((abs(a["loss"] - b["loss"]) for a, b in pairs), default=float("nan")),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=RUNS, help="these rows, beside those that they are compared with")
    parser.add_argument("--runs", metavar="DIR", help="keep the run folders here; otherwise they are removed")
    parser.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    arguments = parser.parse_intermixed_args()
    wanted = set(arguments.only or RUNS)
    names = [name for name in RUNS if name in wanted | {first_of(other) for other in wanted}]
    common = [*SETTINGS, f"train.max_steps={arguments.steps}", *arguments.overrides]
    lines = ["| run | steps with the same samples | gradient norm | loss |", "|---|---|---|---|"]
    rows: dict[str, Any] = {}
    runs_of: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        runs = Path(arguments.runs or temporary).absolute()
        runs.mkdir(parents=True, exist_ok=True)
        for name in names:
            ranks, own = RUNS[name]
            steps = train(runs / re.sub("[,:]", "", name).replace(" ", "_"), ranks, [*common, *own])
            runs_of[name] = steps
            row = compare(runs_of[first_of(name)], steps)
            rows[name] = row | {"settings": own, "grad_norms": [s["grad_norm"] for s in steps]}
            rows[name]["losses"] = [s["loss"] for s in steps]
            lines.append(f"| {name} | {row['same_samples']} | {row['grad_norm']:.1e} | {row['loss']:.1e} |")
            print(lines[-1], flush=True)
    where, command = machine(), command_line()
    sizes = {name: sorted(abs(line["loss"]) for line in runs_of[name]) for name in names if name == first_of(name)}
    losses = ", ".join(f"{size[0]:.1e} to {size[-1]:.1e} ({name})" for name, size in sizes.items())
    worst = max(max(row["grad_norm"], row["loss"]) for row in rows.values())
    text = (
        "# Layout of a batch and what is learned from it\n\n"
        f"`{command}` on {where['cpu']}, {where['cores']} cores, Python {where['python']}.\n"
        f"{arguments.steps} steps of the demo through the command line in float32; differences from the first row of "
        "the same algorithm, the largest over the steps in which both sampled the same candidates. What it means is "
        "told in [invariance.py](../invariance.py).\n\n" + "\n".join(lines) + "\n\n"
        f"Losses are in size: {losses}. "
        f"All differences within {GOAL:g}: {'yes' if worst <= GOAL else 'no'}.\n"
    )
    print(text)
    result = {"machine": where, "command": command, "goal": GOAL, "worst": worst, "runs": rows}
    (RESULTS / "invariance.md").write_text(text)
    write_json(result, RESULTS / "invariance.json")
    write_json(result, arguments.json)
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
