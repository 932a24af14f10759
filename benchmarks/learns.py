"""Do reports get better, not just the reward? Trains the demo's start, which leaves findings out, with two rewards.

    python benchmarks/learns.py [--seeds 0 1 2] [--at-most N] [--arms ARM ...] [--json FILE] [--runs DIR]
                                [section.key=value ...]

Each run goes through the launcher that users take. Greedy reports of every evaluation study, before and after, are read
by the demo's second reader (`online_rl.demo.reader`, which shares no code with the judge) against the drawn labels,
which no reward ever sees. Differences carry 95 % intervals of a paired bootstrap by patient. The primary figure is the
pooled F1 of present findings. "Gap closed" is (after - start) / (policy without habits - start), where the policy
without habits is the shipped one that `make-policy` spoils to get the start (benchmarks/results/demo_policies.md).

Keeps the table and the picture in benchmarks/results/. Finished runs are read, not repeated: `--at-most 1` trains one
more and prints what there is.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from labelled import difference, recall_by_finding
from machine import command_line, machine
from runs import RESULTS, Run, keep, mean, parser, train_missing

from online_rl.pictures.plots import load_run
from online_rl.pictures.style import new_figure, points, save, smooth, style

RECIPES = {"GRPO": "configs/demo_grpo.yaml", "online DPO": "configs/demo_online_dpo.yaml"}
LC = "judges=[{use: findings, length_control: lc_green, args: {normal_weight: %s}}]"
ARMS = {  # arm -> recipe, what it is rewarded with
    "GRPO, blend": ("GRPO", ()),
    "online DPO, blend": ("online DPO", ()),
    "GRPO, LC findings": ("GRPO", (LC % 0.25,)),
    "online DPO, LC findings": ("online DPO", (LC % 0.25,)),
    "GRPO, LC GREEN": ("GRPO", (LC % 1.0,)),
}
SCORES = "benchmarks/report_scores.py"
SETTINGS = (
    "train.max_steps=60",
    "train.save_every=30",
    "eval.studies=null",
    "eval.every=30",
    "monitor.samples=1000",
    "monitor.samples_every=0",
    "guards=[{use: findings, name: lc_green, length_control: lc_green, args: {normal_weight: 1.0}}, "
    f"{{use: '{SCORES}:rouge_l'}}]",
)
MEASURED = {  # column -> metric of the evaluation
    "reward": "reward",
    "F1": "labels/f1",
    "precision": "labels/precision",
    "recall": "labels/recall",
    "silent on abnormal": "labels/silent_on_abnormal",
    "distinct on abnormal": "diversity/distinct_abnormal",
    "verbosity": "verbosity/mean",
    "LC-GREEN": "guards/lc_green/mean",
    "ROUGE-L": "guards/rouge_l/mean",
    "image gain": "image/gain_f1",
}
COLOURS = {
    arm: colour for arm, colour in zip(ARMS, ("#2563eb", "#059669", "#d97706", "#b45309", "#dc2626"), strict=True)
}
EXPLAINED = """Greedy reports of every evaluation study before and after {steps} steps. *Blend* is the demo's reward,
half LC findings under the symmetric rule and half `findings_f1`; *LC findings* was the demo's reward in version 0.1 (a
matched normal statement counts a quarter); *LC GREEN* is GREEN's own formula over the findings judge's counts (a
matched normal statement counts as much as a finding). F1, precision, recall and silence are against the drawn labels,
which nothing rewards. LC-GREEN, ROUGE-L and the gain of the right image over another patient's were watched only."""


def goal() -> float:
    """F1 of the policy without habits on the same studies."""
    kept = json.loads((RESULTS / "demo_policies.json").read_text())
    return kept["rows"]["demo-no-habits, right image"]["f1"]


def read(run: Run) -> dict[str, Any]:
    """One run: each measure before and after, the gain in F1 with its interval, and what the alarms said."""
    steps, evaluations = load_run(run.folder)
    figures: dict[str, Any] = {name: [evaluations[i].get(key) for i in (0, -1)] for name, key in MEASURED.items()}
    gain = difference(*(run.folder / "samples" / f"{when}.jsonl" for when in ("before", "after")))
    start = figures["F1"][0]
    figures |= {"gain": [gain.value, gain.low, gain.high], "gap closed": gain.value / (goal() - start)}
    for when in ("before", "after"):
        figures[f"recall {when}"] = recall_by_finding(run.folder / "samples" / f"{when}.jsonl")
    rang = {key: [e["step"] for e in evaluations if e.get(key)] for e in evaluations for key in e if "alarms/" in key}
    figures |= {"alarms": {key: at for key, at in rang.items() if at and at[-1] > 0}, "steps": len(steps)}
    figures["seconds per step"] = statistics.median(step["step_time"] for step in steps)
    return figures


def table(results: dict[str, dict[int, dict]]) -> str:
    columns = [*MEASURED, "gain in F1 (95 %)", "gap closed", "alarms"]
    rows = [f"| arm | seed | {' | '.join(columns)} |", "|---|---|" + "---|" * len(columns)]
    for arm, runs in results.items():
        for seed, run in sorted(runs.items()):
            arrows = [" to ".join("-" if v is None else f"{v:.3f}" for v in run[name]) for name in MEASURED]
            value, low, high = run["gain"]
            rang = ", ".join(f"{key.removeprefix('alarms/')} at {at}" for key, at in run["alarms"].items()) or "none"
            cells = [arm, str(seed), *arrows, f"{value:+.3f} ({low:+.3f} to {high:+.3f})", f"{run['gap closed']:.0%}"]
            rows.append("| " + " | ".join([*cells, rang]) + " |")
    return "\n".join(rows)


def findings_table(results: dict[str, dict[int, dict]]) -> str:
    """Recall of each finding: of the start, and from the lowest to the highest seed of each arm."""
    start = next(iter(next(iter(results.values())).values()))["recall before"]
    rows = [f"| finding (reports) | start | {' | '.join(results)} |", "|---|---|" + "---|" * len(results)]
    for finding, (share, there) in sorted(start.items(), key=lambda item: -item[1][1]):
        cells = []
        for runs in results.values():
            found = [run["recall after"][finding][0] for run in runs.values()]
            fewer = " (!)" if max(found) < share else ""
            cells.append(f"{min(found):.2f} to {max(found):.2f}{fewer}")
        rows.append(f"| {finding.replace('_', ' ')} ({there}) | {share:.2f} | {' | '.join(cells)} |")
    return "\n".join(rows)


def verdicts(results: dict[str, dict[int, dict]]) -> list[str]:
    """What the blend was built for, claim by claim: in how many of its runs each holds."""
    claims = {
        "at least half of the gap closed": lambda r: r["gap closed"] >= 0.5,
        "F1 up by at least .15": lambda r: r["gain"][0] >= 0.15,
        "precision .80 or more": lambda r: r["precision"][1] >= 0.8,
        "distinct on abnormal at least 80 % of the start's": lambda r: _ratio(r["distinct on abnormal"]) >= 0.8,
        "verbosity .9 to 1.1": lambda r: 0.9 <= r["verbosity"][1] <= 1.1,
        "LC-GREEN up": lambda r: _rise(r["LC-GREEN"]) > 0,
        "ROUGE-L not down by more than .01": lambda r: _rise(r["ROUGE-L"]) >= -0.01,
        "the right image's gain not down": lambda r: _rise(r["image gain"]) >= 0,
        "no alarm": lambda r: not r["alarms"],
    }
    runs = [run for arm, runs in results.items() if arm.endswith("blend") for run in runs.values()]
    return [f"{claim}: {sum(holds(run) for run in runs)} of {len(runs)}" for claim, holds in claims.items()]


def _ratio(values: list[float]) -> float:
    return values[1] / values[0]


def _rise(values: list[float]) -> float:
    return values[1] - values[0]


def picture(runs: dict[tuple[str, int], Run], path: Path) -> None:
    """Reward of the sampled reports over the steps, and F1 of the greedy ones against the labels; a line per run."""
    with style():
        figure = new_figure("From a start that sees, every reward raises F1")
        left, right = figure.subplots(1, 2)
        named: set[str] = set()
        for (arm, _), run in runs.items():
            steps, evaluations = load_run(run.folder)
            label = None if arm in named else arm
            named.add(arm)
            at, rewards = points(steps, "reward")
            left.plot(at, smooth(rewards), color=COLOURS[arm], linewidth=1.6, alpha=0.85, label=label)
            at, f1 = points(evaluations, "labels/f1")
            right.plot(at, f1, color=COLOURS[arm], linewidth=1.6, alpha=0.85, marker="o", markersize=3)
        right.axhline(goal(), color="#94a3b8", linestyle="--", linewidth=1)
        right.annotate("policy without habits", (0, goal()), textcoords="offset points", xytext=(4, -12), fontsize=8)
        left.set_title("Reward (each its own)")
        right.set_title("F1 of present findings, against labels")
        left.set_ylabel("mean of the step's sampled reports")
        right.set_ylabel("pooled over the evaluation studies")
        right.set_ylim(0, 1)
        left.legend(loc="lower right", fontsize=8)
        for axes in (left, right):
            axes.set_xlabel("training step")
        save(figure, path)


def main() -> int:
    made = parser(__doc__ or "", "runs/learns")
    made.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    arguments = made.parse_intermixed_args()
    place = Path(arguments.runs).resolve()
    runs = {
        (arm, seed): Run(
            RECIPES[recipe],
            place / f"{arm.replace(', ', '-').replace(' ', '_')}-seed{seed}",
            (f"run.seed={seed}", *rewarded, *SETTINGS, *arguments.overrides),
        )
        for arm, (recipe, rewarded) in ARMS.items()
        if arm in arguments.arms
        for seed in arguments.seeds
    }
    train_missing(runs.values(), arguments.at_most, arguments.jobs)
    finished = {key: run for key, run in runs.items() if run.finished}
    if not finished:
        sys.exit(f"no run in {arguments.runs} is finished; leave --at-most out to train them.")
    results: dict[str, dict[int, dict]] = {}
    for (arm, seed), run in finished.items():
        results.setdefault(arm, {})[seed] = read(run)
    held, where = verdicts(results), machine()
    first = next(iter(next(iter(results.values())).values()))
    text = (
        f"# Do reports get better, not just the reward?\n\n`{command_line()}` on {where['cpu']}, {where['cores']} "
        f"cores, Python {where['python']}. {len(finished)} of {len(runs)} runs made. F1 of the policy without habits "
        f"on the same studies: {goal():.3f}.\n\n{EXPLAINED.format(steps=first['steps'])}\n\n{table(results)}\n\n"
        "Share of the reports with a finding that name it, against the labels, from the lowest to the highest seed; "
        f"(!) where every seed names it less often than the start:\n\n{findings_table(results)}\n\n"
        "With the blend, runs in which it holds:\n\n" + "".join(f"- {line}\n" for line in held)
    )
    blend = [run for arm, found in results.items() if arm.endswith("blend") for run in found.values()]
    result = {
        "machine": where,
        "command": command_line(),
        "ratio": mean([r["gap closed"] for r in blend]) if blend else None,
    }
    keep("learns", text, result | {"runs": results, "held": held, "settings": SETTINGS}, arguments.json)
    picture(finished, RESULTS / "learns.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
