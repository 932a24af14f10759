"""Does it learn? Trains the demo with GRPO and online DPO, several seeds each, through the real launcher.

    python benchmarks/demo_learning.py [--seeds 0 1 2] [--at-most N] [--json FILE] [--runs DIR] [section.key=value ...]

For each run: length-controlled reward, raw findings score and verbosity of greedy reports on held-out demo studies,
before and after. Keeps the table and the picture in benchmarks/results/. A run that is in DIR already is read, not
repeated.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from machine import command_line, machine
from runs import RESULTS, Run, keep, mean, parser, train_missing

from online_rl.pictures.comparison_plot import plot_comparison
from online_rl.pictures.plots import load_run

RECIPES = {"GRPO": "configs/demo_grpo.yaml", "online DPO": "configs/demo_online_dpo.yaml"}
GOAL_GAIN, GOAL_VERBOSITY = 0.10, (0.8, 1.2)
PARTS = ("matched_findings", "false_finding", "missing_finding")


def read(folder: Path) -> dict:
    """Before and after of one run, from its metrics.jsonl."""
    steps, evaluations = load_run(folder)
    before, after = evaluations[0], evaluations[-1]
    share = {name: sum(s[key] for s in steps) for name, key in (
        ("generate", "time/generate"), ("judge exposed", "time/judge_exposed"), ("update", "time/update"),
        ("sync", "time/sync"), ("step", "step_time"),
    )}  # fmt: skip
    result = {
        "steps": len(steps),
        "reward": [before["reward"], after["reward"]],
        "raw": [before["raw_reward/findings"], after["raw_reward/findings"]],
        "verbosity": [before["verbosity/mean"], after["verbosity/mean"]],
        "seconds_per_step": statistics.median(s["step_time"] for s in steps),
        "share": {name: seconds / share["step"] for name, seconds in share.items() if name != "step"},
    }
    for part in PARTS:
        result[part] = [before[f"judge/findings/{part}"], after[f"judge/findings/{part}"]]
    return result


def table(results: dict[str, dict[int, dict]]) -> str:
    """One line per run, and the mean of each recipe."""
    rows = [
        "| recipe | seed | steps | LC reward before | after | gain | raw gain | verbosity | missing | false | s/step "
        "| sync |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for recipe, runs in results.items():
        for seed, run in runs.items():
            rows.append(_row(recipe, str(seed), run))
        rows.append(_row(f"**{recipe}**", "mean", mean(list(runs.values()))))
    return "\n".join(rows)


def _row(recipe: str, seed: str, run: dict) -> str:
    gain, raw = run["reward"][1] - run["reward"][0], run["raw"][1] - run["raw"][0]
    arrows = (f"{run[key][0]:.2f} to {run[key][1]:.2f}" for key in ("verbosity", "missing_finding", "false_finding"))
    cells = [recipe, seed, f"{run['steps']:.0f}", f"{run['reward'][0]:.3f}", f"{run['reward'][1]:.3f}", f"{gain:+.3f}"]
    cells += [f"{raw:+.3f}", *arrows, f"{run['seconds_per_step']:.2f}", f"{run['share']['sync']:.1%}"]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    made = parser(__doc__ or "", "runs/demo_learning")
    made.add_argument("--recipes", nargs="+", choices=list(RECIPES), default=list(RECIPES))
    arguments = made.parse_intermixed_args()
    place, overrides = Path(arguments.runs).resolve(), arguments.overrides
    runs = {
        (recipe, seed): Run(config, place / f"{recipe.replace(' ', '-')}-seed{seed}", (f"run.seed={seed}", *overrides))
        for recipe, config in RECIPES.items()
        for seed in arguments.seeds
        if recipe in arguments.recipes
    }
    train_missing(runs.values(), arguments.at_most)
    runs = {key: run for key, run in runs.items() if run.finished}
    results: dict[str, dict[int, dict]] = {}
    for (recipe, seed), run in runs.items():
        results.setdefault(recipe, {})[seed] = read(run.folder)
    command = command_line()
    where = machine()
    goals = {
        recipe: all(
            run["reward"][1] - run["reward"][0] >= GOAL_GAIN
            and GOAL_VERBOSITY[0] <= run["verbosity"][1] <= GOAL_VERBOSITY[1]
            for run in runs.values()
        )
        for recipe, runs in results.items()
    }
    text = (
        f"# The demo learns\n\n`{command}` on {where['cpu']}, {where['cores']} cores, Python {where['python']}.\n"
        "Greedy reports of held-out demo studies; verbosity, missing and false findings per report, before to "
        f"after; sync is its share of the step.\n\n{table(results)}\n\n"
        + "\n".join(
            f"{recipe}: gain of at least {GOAL_GAIN:.2f} with verbosity in {GOAL_VERBOSITY[0]} to {GOAL_VERBOSITY[1]}, "
            f"every seed: {'yes' if met else 'no'}."
            for recipe, met in goals.items()
        )
        + "\n"
    )
    keep(
        "demo_learning",
        text,
        {"machine": where, "command": command, "runs": results, "goals_met": goals},
        arguments.json,
    )
    for picture in plot_comparison([run.folder for run in runs.values()], RESULTS / "demo_learning.png"):
        if picture.name == "errors.png":
            picture.rename(RESULTS / "demo_learning_errors.png")
        elif picture.name.startswith("before_after"):
            picture.unlink()  # the runs have their own
    return 0


if __name__ == "__main__":
    sys.exit(main())
