"""Completions trained per second, here and in TRL's GRPOTrainer: the same policy, prompts, images, reward and numbers.

    python benchmarks/step_vs_trl.py [--rounds N] [--steps N] [--turns-only] [--json FILE] [section.key=value ...]

Four ways run as their users run them, in turns, a round after the other:

    here             `bash launch/single_node.sh configs/demo_grpo.yaml ...`: vLLM, DeepSpeed ZeRO-3, a rank per core
    TRL, default     `python benchmarks/trl_grpo.py`: GRPOTrainer as its documentation has it, on a CPU: generation by
                     transformers, gradient checkpointing, one process with all cores
    TRL, plain       the same with gradient checkpointing switched off, which this small policy can do without
    TRL, plain, 2 processes   the same in two processes (torchrun, one per core)

and then once the other way in which TRL could be run on this machine, `use_vllm` in its process, which does not get
beyond the first step: TRL writes live weights into vLLM's parameters one by one, and vLLM has packed them for the CPU.

What all share: the demo policy in float32 with its vision encoder frozen, training studies of the demo world with one
image each, 16 studies x 8 candidates per optimiser step, at most 96 tokens at temperature 1, passes of at most 4,096
tokens (32 candidates behind prompts of their own; here, candidates of a study share its prompt, and more of them fit),
DAPO's loss with TRL's defaults (no ref_model), the learning rate, and the reward function
`findings_reward.py:findings_reward`.

A step is timed from the end of the step before it to its own end, so that everything counts; the first of each launch
is left out, and so is starting up. Ratios are of medians over all steps of all rounds. The headline is taken against
TRL's default; the other ratio stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import command_line, machine
from runs import keep

from judges.network import free_port
from online_rl.config import Config, load_config

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
CONFIG = ROOT / "configs" / "demo_grpo.yaml"
GOAL, GOAL_OF_BEST = 2.5, 1.7  # against TRL as its documentation has it, and against its best way here
LIMIT_S = 300.0  # of a launch
HERE, DEFAULT, PLAIN, TWO = "here, 2 ranks", "TRL, default", "TRL, plain", "TRL, plain, 2 processes"  # in turns
COLUMNS = ("seconds", "generate", "judge", "prepare", "update", "sync")
SHARED = [
    "algorithm.name=dapo",
    "algorithm.grpo.clip_low=0.2",
    "algorithm.grpo.clip_high=0.2",
    "algorithm.grpo.kl_coef=0.0",
    f"judges=[{{use: '{BENCHMARKS / 'findings_reward.py'}:findings_reward', conversational: true}}]",
    "rollout.studies_per_step=16",  # 128 completions
    "data.max_train_studies=128",
    "eval.studies=2",
    "eval.every=0",
    "monitor.samples=0",
    "scoring.canary_every=0",
    "train.save_every=1000",
]


def here(cfg: Config, folder: Path, steps: int, ranks: int, overrides: list[str]) -> list[dict[str, float]]:
    """Steps of a run as users start it, read from its metrics."""
    command = ["bash", "launch/single_node.sh", str(CONFIG), *SHARED, *overrides]
    command += [f"run.dir={folder}", f"train.max_steps={steps}"]
    launch(command, folder, {"RANKS": str(ranks)})
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    records = [record for record in records if not record.get("eval")]
    rows = []
    for before, record in zip(records, records[1:], strict=False):
        seconds = record["time"] - before["time"]
        parts = {name: record[f"time/{key}"] for name, key in PARTS.items()}
        completions = round(record["perf/completions_per_second"] * record["step_time"])
        tokens = completions * record["completions/mean_length"]
        row = {"seconds": seconds, "completions": completions, "tokens": tokens, **parts}
        rows.append(row | {"prepare": seconds - sum(parts.values())})
    return rows


MICRO_BATCH = 32  # completions per pass: as many behind prompts of their own as train.micro_batch_tokens=4096 holds
PARTS = {"generate": "generate", "judge": "judge_exposed", "update": "update", "sync": "sync"}


def trl(
    cfg: Config, folder: Path, steps: int, processes: int, options: dict[str, Any], demo: Any
) -> list[dict[str, float]]:
    """Steps of TRL's trainer, read from what trl_grpo.py notes."""
    cores = os.cpu_count() or 1
    settings = {
        "policy": str(demo.policy),
        "world": str(demo.world),
        "output": str(folder),
        "out": str(folder / "steps.jsonl"),
        "seed": cfg.run.seed,
        "steps": steps,
        "micro_batch_size": MICRO_BATCH,
        "studies_per_step": cfg.rollout.studies_per_step,
        "group_size": cfg.rollout.group_size,
        "max_completion_tokens": cfg.rollout.max_completion_tokens,
        "learning_rate": cfg.train.learning_rate,
        "studies": cfg.data.max_train_studies,
        "freeze_vision": cfg.model.freeze_vision,
        "threads": max(1, cores // processes),
        "prompt": cfg.data.prompt,
        "options": options,
    }
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    python = [sys.executable]
    if processes > 1:  # accelerate's own launcher starts one process on a CPU unless it is given MPI
        python += ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(free_port())]
    command = [*python, str(BENCHMARKS / "trl_grpo.py"), str(folder / "settings.json")]
    launch(command, folder, {"OMP_NUM_THREADS": str(settings["threads"])})
    rows = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    for row in rows:
        row["tokens"] = row.pop("tokens_of_this_process") * processes
        row["sync"] = 0.0
    return rows[1:]


class Failed(RuntimeError):
    """A launch that did not come to its end; the message is the last line that it said."""


def launch(command: list[str], folder: Path, variables: dict[str, str]) -> None:
    """Run to the end, streams in files beside `folder`."""
    environment = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONPATH": str(ROOT), "TRANSFORMERS_VERBOSITY": "error"} | variables
    if "OMP_NUM_THREADS" not in variables:
        environment.pop("OMP_NUM_THREADS", None)  # the launcher's own choice
    log = folder.with_name(folder.name + ".log")
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True)
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"not done after {LIMIT_S:g} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if code:
        lines = [line for line in log.read_text(errors="replace").splitlines() if "Error: " in line]
        raise Failed(lines[-1].removeprefix("[rank0]: ").strip() if lines else f"exit code {code}")


def measure(
    cfg: Config, place: Path, rounds: int, steps: int, overrides: list[str], turns_only: bool
) -> dict[str, Any]:
    """Rows per way: every step that was timed. A way that does not run has its reason instead."""
    from online_rl.demo.prepare import prepare

    demo = prepare(cfg)
    plain = {"gradient_checkpointing": False}
    vllm = plain | {"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": cfg.rollout.max_model_len}
    ways: dict[str, Any] = {
        HERE: lambda folder: here(cfg, folder, steps + 1, 2, overrides),
        DEFAULT: lambda folder: trl(cfg, folder, steps + 1, 1, {}, demo),
        PLAIN: lambda folder: trl(cfg, folder, steps + 1, 1, plain, demo),
        TWO: lambda folder: trl(cfg, folder, steps + 1, 2, plain, demo),
        "TRL, plain, use_vllm": lambda folder: trl(cfg, folder, steps + 1, 1, vllm, demo),
    }
    turns = [HERE, DEFAULT, PLAIN, TWO] * rounds
    if not turns_only:
        turns += list(ways)[4:]
    results: dict[str, Any] = {name: {"rows": []} for name in ways if name in turns}
    for turn, name in enumerate(turns):
        try:
            rows = ways[name](place / f"{turn}")
        except Failed as problem:
            results[name]["failed"] = str(problem)
            print(f"{name}: {problem}", flush=True)
            continue
        results[name]["rows"] += rows
        rates = [row["completions"] / row["seconds"] for row in rows]
        print(f"{name}: {statistics.median(rates):.1f} completions/s in {len(rows)} steps", flush=True)
    for result in results.values():
        if result["rows"]:
            result |= {c: statistics.median(row[c] for row in result["rows"]) for c in (*COLUMNS, "tokens")}
            result["completions_per_second"] = statistics.median(
                row["completions"] / row["seconds"] for row in result["rows"]
            )
    return results


def table(results: dict[str, Any]) -> str:
    lines = [
        "| way | steps | completions/s | tokens per step | step | generate | judge (waited) | update | sync | other |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        if "seconds" not in r:
            lines.append(f"| {name} | does not run: `{r['failed']}` |" + " |" * 8)
            continue
        parts = " | ".join(f"{r[c]:.2f} s" for c in ("generate", "judge", "update", "sync", "prepare"))
        lines.append(
            f"| {name} | {len(r['rows'])} | **{r['completions_per_second']:.1f}** | {r['tokens']:.0f} "
            f"| {r['seconds']:.2f} s | {parts} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps per launch")
    parser.add_argument("--turns-only", action="store_true", help="leave out the way that runs once")
    parser.add_argument("--json", metavar="FILE", help="the same figures as JSON")
    parser.add_argument("--note", default="", help="a sentence for the results, such as what else ran on the machine")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    arguments = parser.parse_intermixed_args()
    cfg = load_config(CONFIG, [*SHARED, *arguments.overrides])
    place = Path(tempfile.mkdtemp(prefix="step_vs_trl."))
    try:
        results = measure(cfg, place, arguments.rounds, arguments.steps, arguments.overrides, arguments.turns_only)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    rates = {name: result.get("completions_per_second", 0.0) for name, result in results.items()}
    best = max((name for name in rates if name.startswith("TRL")), key=lambda name: rates[name])
    ratio, against_best = rates[HERE] / rates[DEFAULT], rates[HERE] / rates[best]
    command = command_line()
    where = machine()
    text = (
        "# A step here and in TRL\n\n"
        f"`{command}` on {where['cpu']}, {where['cores']} cores, Python {where['python']}.\n"
        f"{arguments.rounds} rounds in turns, medians. What is the same on both sides, and what is timed, is told in "
        f"[step_vs_trl.py](../step_vs_trl.py).{arguments.note and ' ' + arguments.note}\n\n{table(results)}\n\n"
        f"Completions trained per second, here against TRL as its documentation has it: **{ratio:.2f}** times, and "
        f"{against_best:.2f} times the best of TRL's ways here ({best}). The goals, {GOAL:g} and {GOAL_OF_BEST:g}: "
        f"{'met' if ratio >= GOAL else 'missed'}, and {'met' if against_best >= GOAL_OF_BEST else 'missed'}.\n"
    )
    result = {"machine": where, "command": command, "ratio": ratio, "goal": GOAL, "note": arguments.note}
    result |= {"against_best": against_best, "goal_of_best": GOAL_OF_BEST, "best_of_trl": best, "ways": results}
    keep("step_vs_trl", text, result, arguments.json)
    return 0 if ratio >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
