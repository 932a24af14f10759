"""Does length control matter online? Trains the demo on a raw findings score and on the same score under LC.

    python benchmarks/length_control.py [--seeds 0 1 2] [--at-most N] [--jobs N] [--json FILE] [--runs DIR]
                                        [section.key=value ...]

CheXalign (Hein et al., arXiv 2410.07025) found offline that preferences by raw GREEN make reports up to 2.5 times as
long, mostly by repetition, and that LC-GREEN = GREEN / max(verbosity, 1) does not. Here the same, online, with GRPO and
with online DPO. The raw score is `green_with_repeats` (report_scores.py): GREEN's formula over the findings judge's
counts, where a repeated match counts again. The arms differ in one key, `length_control`. Watched and never rewarded:
ROUGE-L, the F1 of present findings against the drawn labels, and the findings judge itself, which repetition does not
impress. A controlled arm is non-inferior if the 95 % interval of its F1 minus the raw arm's (same seed, same studies,
paired bootstrap by patient) lies above -0.05.

Keeps the table and the picture in benchmarks/results/. Finished runs are read, not repeated: `--at-most 1` trains one
more and prints what there is.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

from labelled import pooled_difference
from machine import command_line, machine
from report_scores import repeated_share
from runs import RESULTS, Run, before_and_after, keep, mean, parser, train_missing

from online_rl.pictures.plots import load_run
from online_rl.pictures.style import new_figure, points, save, smooth, style

SCORES = "benchmarks/report_scores.py"
RECIPES = {"GRPO": "configs/demo_grpo.yaml", "online DPO": "configs/demo_online_dpo.yaml"}
ARMS = {"raw": "none", "LC": "lc_green", "symmetric": "symmetric"}  # rewarded -> length_control
CONTROLLED = ("LC", "symmetric")
SETTINGS = (
    "train.max_steps=80",
    "train.save_every=40",
    "eval.studies=null",
    "eval.every=0",
    "monitor.samples=1000",
    "monitor.samples_every=0",
    "eval.image_check=never",
    "scoring.price_studies=0",
    f"guards=[{{use: '{SCORES}:green_with_repeats', name: lc, length_control: lc_green}}, "
    "{use: findings, name: lc_findings, length_control: lc_green}, "
    f"{{use: '{SCORES}:rouge_l'}}]",
)
JUDGE = f"judges=[{{use: '{SCORES}:green_with_repeats', length_control: %s}}]"
METRICS = {
    "verbosity": "verbosity/mean",
    "LC score": "guards/lc/mean",
    "raw score": "guards/lc/raw",
    "ROUGE-L": "guards/rouge_l/mean",
    "F1": "labels/f1",
    "findings judge": "guards/lc_findings/raw",
    "the same, LC": "guards/lc_findings/mean",
}
REPEATED = "repeated"
COLUMNS = (*METRICS, REPEATED)
GUARDS = ("ROUGE-L", "F1", "findings judge", "the same, LC")
EXPLAINED = """Greedy reports of all held-out demo studies after training. Rewarded was the raw score (GREEN's formula,
matched / (matched + errors), over the findings judge's counts, a repeated match counted again), or it under LC, the
paper's rule (raw / max(verbosity, 1)), or under the symmetric rule (raw / max(verbosity, 1 / verbosity)), which charges
short reports as well. ROUGE-L, F1 (pooled, of present findings, against the drawn labels) and the findings judge, which
counts no finding twice, were watched only; repeated is the share of sentences that repeat one of the same report. The
last column is F1 less that of the raw arm of the same seed, with its 95 % interval (paired bootstrap by patient).
Reports end at 96 tokens at the latest, a verbosity of about 2.1."""
HELD = (0.9, 1.1)  # verbosity that the controlled run must keep
MARGIN = 0.05  # of F1: a controlled arm is non-inferior if the interval of its difference from raw lies above -MARGIN
GROWN = 1.25  # verbosity that is visibly too much
ALL = "all seeds"
COLOURS = {"raw": "#d97706", "LC": "#2563eb", "symmetric": "#059669"}
Key = tuple[str, str, int]  # recipe, arm, seed
Results = dict[str, dict[str, dict[int, dict]]]  # recipe -> arm -> seed -> metric -> [before, after]
Interval = tuple[float, float | None, float | None]  # a difference and the ends of its interval
Compared = dict[tuple[str, str, str], Interval]  # recipe, arm, seed or ALL -> F1 less that of raw


def planned(folder: Path, seeds: list[int], overrides: list[str]) -> dict[Key, Run]:
    """Every run, seed by seed, so that any piece of it compares like with like."""
    return {
        (recipe, arm, seed): Run(
            config,
            folder / f"{recipe.replace(' ', '-')}-{arm}-seed{seed}",
            (f"run.seed={seed}", JUDGE % rule, *SETTINGS, *overrides),
        )
        for seed in seeds
        for recipe, config in RECIPES.items()
        for arm, rule in ARMS.items()
    }


def read(folder: Path) -> dict[str, list[float]]:
    """Metrics before and after, and the share of sentences that repeat one of the same report, of the kept samples."""
    texts = [[json.loads(line)["candidate"] for line in path.read_text().splitlines()] for path in _samples(folder)]
    return {**before_and_after(folder, METRICS), REPEATED: [statistics.fmean(map(repeated_share, t)) for t in texts]}


def _samples(folder: Path) -> list[Path]:
    return [folder / "samples" / f"{when}.jsonl" for when in ("before", "after")]


def compared(runs: dict[Key, Run]) -> Compared:
    """F1 of each controlled run less that of the raw run of its recipe and seed, and of all seeds together."""
    pairs: dict[tuple[str, str], dict[int, tuple[Path, Path]]] = {}
    for (recipe, arm, seed), run in runs.items():
        raw = runs.get((recipe, "raw", seed))
        if arm in CONTROLLED and raw:
            pairs.setdefault((recipe, arm), {})[seed] = (_samples(raw.folder)[1], _samples(run.folder)[1])
    found: Compared = {}
    for (recipe, arm), of_seeds in pairs.items():
        sets = {str(seed): [pair] for seed, pair in of_seeds.items()} | {ALL: list(of_seeds.values())}
        for seeds, chosen in sets.items():
            less = pooled_difference(chosen)
            found[recipe, arm, seeds] = (less.value, less.low, less.high)
    return found


def table(results: Results, less_than_raw: Compared) -> str:
    """Before training, then per recipe and arm the mean of the seeds that were run and each of them."""
    head = (*COLUMNS, "F1 - raw's")
    rows = [f"| recipe | rewarded | seed | {' | '.join(head)} |", "|---|---|---|" + "---|" * len(head)]
    if results:
        first = next(iter(next(iter(next(iter(results.values())).values())).values()))
        rows.append(_row("before training", "", "", {name: values[0] for name, values in first.items()}, None))
    for recipe in RECIPES:
        for arm in ARMS:
            after = _after(results, recipe, arm)
            for seed, values in after.items():
                rows.append(_row(recipe, arm, str(seed), values, less_than_raw.get((recipe, arm, str(seed)))))
            less = less_than_raw.get((recipe, arm, ALL))
            rows.append(_row(f"**{recipe}**", f"**{arm}**", f"mean of {len(after)}", _means(after), less))
    return "\n".join(rows)


def _after(results: Results, recipe: str, arm: str) -> dict[int, dict[str, float]]:
    found = results.get(recipe, {}).get(arm, {})
    return {seed: {name: values[1] for name, values in run.items()} for seed, run in sorted(found.items())}


def _means(runs: dict[int, dict[str, float]]) -> dict[str, float]:
    return mean(list(runs.values())) if runs else {}


def _row(recipe: str, arm: str, seed: str, values: dict[str, float], less: Interval | None) -> str:
    cells = [recipe, arm, seed, *(f"{values[name]:.3f}" if name in values else "" for name in COLUMNS)]
    return "| " + " | ".join([*cells, _interval(less) if less else ""]) + " |"


def _interval(less: Interval) -> str:
    value, low, high = less
    return f"{value:+.3f}" if low is None else f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def verdicts(results: Results, less_than_raw: Compared) -> list[str]:
    """Per recipe and controlled arm, in how many of the seeds that have the raw arm as well each claim holds."""
    lines = []
    for recipe in RECIPES:
        raw = _after(results, recipe, "raw")
        if raw:
            lines.append(
                f"{recipe}, raw: verbosity above {GROWN} {_count(r['verbosity'] > GROWN for r in raw.values())}"
            )
        for arm in CONTROLLED:
            held = _after(results, recipe, arm)
            pairs = [(raw[seed], held[seed]) for seed in sorted(raw.keys() & held.keys())]
            if pairs:
                within = _count(HELD[0] <= c["verbosity"] <= HELD[1] for _, c in pairs)
                better = [f"{name} {_count(c[name] > r[name] for r, c in pairs)}" for name in ("LC score", *GUARDS)]
                lows = [less_than_raw[recipe, arm, str(seed)][1] for seed in sorted(raw.keys() & held.keys())]
                safe = _count(low is not None and low > -MARGIN for low in lows)
                lines.append(
                    f"{recipe}, {arm}: F1 not inferior to raw's by {MARGIN} {safe}; verbosity in {HELD[0]} to "
                    f"{HELD[1]} {within}; better than raw by {', by '.join(better)}"
                )
    return lines


def _count(held: Iterable[bool]) -> str:
    each = list(held)
    return f"({sum(each)} of {len(each)})"


def picture(runs: dict[Key, Run], path: Path) -> None:
    """Verbosity, LC score and ROUGE-L of the sampled reports over the steps; a line per seed."""
    panels = {
        "Verbosity": ("verbosity/mean", "words / words of the reference report"),
        "LC score": ("guards/lc/mean", "raw score / max(verbosity, 1)"),
        "ROUGE-L": ("guards/rouge_l/mean", "F1 against the reference report"),
    }
    with style():
        figure = new_figure("The same score, raw and under length control")
        grid = figure.subplots(len(RECIPES), len(panels), sharex=True, sharey="col")
        for row, recipe in zip(grid, RECIPES, strict=True):
            for axes, (title, (metric, unit)) in zip(row, panels.items(), strict=True):
                named = set()
                for (of, arm, _), run in runs.items():
                    if of != recipe:
                        continue
                    steps, values = points(load_run(run.folder)[0], metric)
                    label = None if arm in named else f"trained on {arm}"
                    axes.plot(steps, smooth(values), color=COLOURS[arm], linewidth=1.8, alpha=0.85, label=label)
                    named.add(arm)
                axes.set_title(f"{recipe}: {title}")
                axes.set_ylabel(unit)
                if title == "Verbosity":
                    axes.axhspan(*HELD, color="#94a3b8", alpha=0.2, linewidth=0)
                    if named:
                        axes.legend(loc="upper left")
        for axes in grid[-1]:
            axes.set_xlabel("training step")
        save(figure, path)


def main() -> int:
    arguments = parser(__doc__ or "", "runs/length_control").parse_intermixed_args()
    runs = planned(Path(arguments.runs).resolve(), arguments.seeds, arguments.overrides)
    train_missing(runs.values(), arguments.at_most, arguments.jobs)
    if not any(run.finished for run in runs.values()):
        sys.exit(f"no run in {arguments.runs} is finished; leave --at-most out to train them.")
    finished = {key: run for key, run in runs.items() if run.finished}
    results: Results = {}
    for (recipe, arm, seed), run in finished.items():
        results.setdefault(recipe, {}).setdefault(arm, {})[seed] = read(run.folder)
    less_than_raw = compared(finished)
    held, where = verdicts(results, less_than_raw), machine()
    text = (
        f"# Length control, online\n\n`{command_line()}` on {where['cpu']}, {where['cores']} cores, Python "
        f"{where['python']}. {len(finished)} of {len(runs)} runs made; what was not run is blank.\n\n{EXPLAINED}\n\n"
        f"{table(results, less_than_raw)}\n\n"
        "Seeds in which it holds:\n\n" + "".join(f"- {line}\n" for line in held)
    )
    result = {
        "machine": where,
        "command": command_line(),
        "runs": results,
        "F1 - raw's": {", ".join(key): less for key, less in less_than_raw.items()},
        "held": held,
        "settings": SETTINGS,
    }
    keep("length_control", text, result, arguments.json)
    picture(finished, RESULTS / "length_control.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
