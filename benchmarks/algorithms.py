"""All algorithms on the demo, the same number of sampled reports each: reward, verbosity, guards, seconds.

    python benchmarks/algorithms.py [--seeds 0 1 2] [--algorithms NAME ...] [--at-most N] [--jobs N]
                                    [--json FILE] [--runs DIR] [section.key=value ...]

Every recipe of configs/algorithms/ as it is shipped, but shorter. Keeps the table and the picture in
benchmarks/results/. Finished runs are read, not repeated: `--at-most 1` trains one more and prints what there is.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from machine import command_line, machine
from runs import RESULTS, Run, before_and_after, keep, mean, parser, train_missing

from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY
from online_rl.pictures.plots import load_run
from online_rl.pictures.style import GREY, new_figure, save, style

NAMES = (*GRPO_FAMILY, *PREFERENCE_FAMILY)
STEPS, STUDIES = 20, 8
SCORES = "benchmarks/report_scores.py"
SETTINGS = (
    f"train.max_steps={STEPS}",
    f"rollout.studies_per_step={STUDIES}",
    "train.save_every=10",
    "eval.every=0",
    "eval.image_check=never",
    "scoring.price_studies=0",
    f"guards=[{{use: '{SCORES}:rouge_l'}}]",
)
METRICS = {
    "reward": "reward",
    "verbosity": "verbosity/mean",
    "ROUGE-L": "guards/rouge_l/mean",
    "F1": "labels/f1",
}
EXPLAINED = f"""The recipes of configs/algorithms/, {STEPS} steps of {STUDIES} studies, 8 sampled reports each. Greedy
reports of 128 held-out studies; rewarded is the recipes' blend, ROUGE-L and F1 (pooled, of present findings, against
the drawn labels) are watched only. Seconds are the median step's: grpo and dr_grpo learn once from all reports, the
rest of their family twice, online_* once from two of each eight. What was not run is blank."""
COLOURS = {"grpo": "#2563eb", "online": "#d97706"}  # by the first word of the name: the family
Key = tuple[str, int]  # algorithm, seed
Figures = dict[str, list[float]]  # metric -> [before, after]; SECONDS -> [of the median step]
SECONDS = "s/step"


def read(folder: Path) -> Figures:
    seconds = statistics.median(step["step_time"] for step in load_run(folder)[0])
    return {**before_and_after(folder, METRICS), SECONDS: [seconds]}


def table(results: dict[str, dict[int, Figures]]) -> str:
    """Before training, then the mean of the seeds that were run of each algorithm."""
    names = [*METRICS, SECONDS]
    rows = [f"| algorithm | seeds | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    if results:
        first = next(iter(next(iter(results.values())).values()))
        rows.append(_row("before training", "", {name: first[name][0] for name in METRICS}))
    for name in NAMES:
        found = list(results.get(name, {}).values())
        after = {metric: values[-1] for metric, values in mean(found).items()} if found else {}
        rows.append(_row(name, str(len(found) or ""), after))
    return "\n".join(rows)


def _row(name: str, seeds: str, values: dict[str, float]) -> str:
    cells = [f"{values[metric]:.3f}" if metric in values else "" for metric in METRICS]
    cells.append(f"{values[SECONDS]:.2f}" if SECONDS in values else "")
    return "| " + " | ".join([name, seeds, *cells]) + " |"


def picture(results: dict[str, dict[int, Figures]], path: Path) -> None:
    """A dot per run, an algorithm per line; dashed where the policy started."""
    panels = {"reward": "held-out studies", "verbosity": "words / reference words", "F1": "against drawn labels"}
    shown = [name for name in NAMES if name in results]
    with style():
        figure = new_figure(f"All algorithms, {STEPS} steps of {8 * STUDIES} reports", height=6)
        for axes, (metric, unit) in zip(
            figure.subplots(1, 4, sharey=True), [*panels.items(), (SECONDS, "median of the steps")], strict=True
        ):
            for line, name in enumerate(reversed(shown)):
                values = [run[metric][-1] for run in results[name].values()]
                colour = COLOURS["online" if name in PREFERENCE_FAMILY else "grpo"]
                axes.plot(values, [line] * len(values), "o", color=colour, markersize=9, alpha=0.8)
            if metric in METRICS:
                start = next(iter(results[shown[0]].values()))[metric][0]
                axes.axvline(start, color=GREY, linestyle=(0, (4, 3)), linewidth=1.2)
            else:
                axes.set_xlim(left=0)
            axes.set_yticks(range(len(shown)), list(reversed(shown)))
            axes.set_title("Seconds per step" if metric == SECONDS else metric[0].upper() + metric[1:])
            axes.set_xlabel(unit)
        save(figure, path)


def main() -> int:
    made = parser(__doc__ or "", "runs/algorithms")
    made.add_argument("--algorithms", nargs="+", choices=NAMES, default=list(NAMES))
    arguments = made.parse_intermixed_args()
    place, overrides = Path(arguments.runs).resolve(), arguments.overrides
    runs = {
        (name, seed): Run(
            f"configs/algorithms/{name}.yaml",
            place / f"{name}-seed{seed}",
            (f"run.seed={seed}", *SETTINGS, *overrides),
        )
        for seed in arguments.seeds
        for name in NAMES
        if name in arguments.algorithms
    }
    train_missing(runs.values(), arguments.at_most, arguments.jobs)
    if not any(run.finished for run in runs.values()):
        sys.exit(f"no run in {arguments.runs} is finished; leave --at-most out to train them.")
    results: dict[str, dict[int, Figures]] = {}
    for (name, seed), run in runs.items():
        if run.finished:
            results.setdefault(name, {})[seed] = read(run.folder)
    where = machine()
    text = (
        f"# All algorithms on the demo\n\n`{command_line()}` on {where['cpu']}, {where['cores']} cores, Python "
        f"{where['python']}.\n\n{EXPLAINED}\n\n{table(results)}\n"
    )
    result = {"machine": where, "command": command_line(), "runs": results, "settings": SETTINGS}
    keep("algorithms", text, result, arguments.json)
    picture(results, RESULTS / "algorithms.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
