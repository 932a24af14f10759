"""From rows to numbers: every metric with its interval, and two policies on the same studies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from online_rl.commands.eval.figures import Figure, figures, mean_figure, paired
from online_rl.commands.eval.image_check import read_check
from online_rl.commands.eval.source import ABOUT, SCORES
from online_rl.commands.eval.statistics import CONFIDENCE, RESAMPLES, Estimate, difference, estimate, win_rate
from online_rl.commands.score.summary import CATEGORIES
from online_rl.errors import DataError
from online_rl.metrics import is_better_greater
from online_rl.truth import bootstrap
from online_rl.truth.paired_test import EXCHANGES, p_value

Row = dict[str, Any]
# What no reward pays for, and the corpus figures that a terminal shows; `--table paper` has all.
TRUTH = (
    ("labels/f1", "F1 against labels"),
    ("findings/f1", "F1 of present findings"),
    ("findings/precision", "precision"),
    ("findings/recall", "recall"),
    ("findings/silent_on_abnormal", "silent on abnormal"),
    ("diversity/distinct", "distinct reports"),
    ("wording/bleu_4", "BLEU-4"),
    ("wording/rouge_l", "ROUGE-L"),
)
NEEDED = {"study_id", "patient", "status", "reward", "scores", "guards", "words", "tokens", "verbosity", "truncated"}


@dataclass(frozen=True)
class Evaluated:
    """The results of one policy: its rows, in the order of the split, and what they are of."""

    label: str
    folder: Path
    about: dict[str, Any]
    rows: list[Row]

    @property
    def patients(self) -> list[int]:
        return [row["patient"] for row in self.rows]

    def counts(self) -> dict[str, int]:
        """How many studies were scored, and why the others were not: they are in no mean of a score."""
        found = Counter(row["status"] for row in self.rows)
        return {status: found[status] for status in ("scored", "unscorable", "failed", "bad_image")}


def read_results(folder: Path, label: str) -> Evaluated:
    """What an evaluation has left. Raises DataError if it is not whole."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        rows = read_rows(folder)
        if not rows or not isinstance(about["of"], dict) or any(NEEDED - row.keys() for row in rows):
            raise ValueError
    except OSError as problem:
        raise DataError(f"{folder}: {problem.filename} cannot be read ({problem.strerror}).") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{folder}: {SCORES} or {ABOUT} is not what this version of `online-rl eval` writes. Evaluate again with "
            "--overwrite."
        ) from None
    return Evaluated(label, folder, about, rows)


def read_rows(folder: Path) -> list[Row]:
    """Raises OSError or ValueError."""
    with (folder / SCORES).open(encoding="utf-8") as lines:  # a report may hold other line ends than \n
        return [json.loads(line) for line in lines]


def measures(rows: Sequence[Row]) -> dict[str, list[float | None]]:
    """Metric -> one value per row, None if there is none. Names are those of training (docs/watching.md)."""
    names, guards = (list(dict.fromkeys(name for row in rows for name in row[kind])) for kind in ("scores", "guards"))
    found: dict[str, list[float | None]] = {"reward": [row["reward"] for row in rows]}
    for kind, mean, part_of, judges in (
        ("scores", "rewards/{}/mean", "judge/{}/{}", names),
        ("guards", "guards/{}/mean", "guards/{}/{}", guards),
    ):
        for judge in judges:
            answers = [row[kind].get(judge) or {"value": None, "parts": {}} for row in rows]
            found[mean.format(judge)] = [a["value"] for a in answers]
            scored = [a["parts"] if a["value"] is not None else {} for a in answers]
            for part in dict.fromkeys(p for parts in scored for p in parts if p != "verbosity"):
                raw = kind == "scores" and part == "raw"
                name = f"raw_reward/{judge}" if raw else part_of.format(judge, part)
                found[name] = [parts.get(part) for parts in scored]
    found["verbosity/mean"] = [row["verbosity"] for row in rows]
    found["completions/mean_words"] = [row["words"] for row in rows]
    found["completions/mean_length"] = [row["tokens"] for row in rows]
    found["completions/clipped_ratio"] = [row["truncated"] for row in rows]
    return found


def label_of(metric: str, judges: int) -> str:
    """For a table: `reward`, `raw score (findings)`, `(a) false finding`."""
    fixed = {
        "verbosity/mean": "verbosity",
        "completions/mean_words": "words",
        "completions/mean_length": "tokens",
        "completions/clipped_ratio": "share cut at the limit",
        **dict(TRUTH),
    }
    if metric in fixed:
        return fixed[metric]
    kind, _, rest = metric.partition("/")
    if kind == "raw_reward":
        return f"raw score ({rest})"
    judge, _, part = rest.partition("/")
    if part == "mean":
        return f"{judge}, guard" if kind == "guards" else judge
    if part:
        words = CATEGORIES.get(part, part.replace("_", " "))
        return f"{words}, {judge}" if judges > 1 else words
    return metric


def shown(metrics: Iterable[str]) -> list[str]:
    """The figures that a reader asks for first, in reading order: scores, errors, lengths."""
    metrics = list(metrics)
    only_judge = sum(m.startswith("rewards/") for m in metrics) == 1
    scores = [m for m in metrics if m.startswith(("reward", "raw_reward/")) or _is_mean_of_guard(m)]
    if only_judge:  # the reward, times its weight
        scores = [m for m in scores if not m.startswith("rewards/")]
    last = {m: m.rpartition("/")[2] for m in metrics}
    errors = [m for category in (*CATEGORIES, "matched_findings") for m in metrics if last[m] == category]
    truth = [m for m, _ in TRUTH if m in metrics]
    return [*scores, *truth, *errors, *(m for m in metrics if m.startswith(("verbosity/", "completions/")))]


def _is_mean_of_guard(metric: str) -> bool:
    return metric.startswith("guards/") and metric.endswith("/mean")


def summarise(evaluated: Evaluated) -> dict[str, Any]:
    """Every metric with its interval, and how many studies stand behind it."""
    estimates = {name: estimate(values, evaluated.patients) for name, values in measures(evaluated.rows).items()}
    for name, figure in figures(evaluated.rows).items():
        found = bootstrap.estimate(figure.statistic, figure.table(), evaluated.patients)
        estimates[name] = _pooled(found, figure.studies)
    image = read_check(evaluated.folder, evaluated.about["of"])
    return {
        "policy": evaluated.about["policy"],
        "split": evaluated.about["split"],
        "studies": len(evaluated.rows),
        "patients": len(set(evaluated.patients)),
        **evaluated.counts(),
        "metrics": {name: found.as_dict() for name, found in estimates.items() if found},
        **({"image_check": image} if image else {}),
    }


def refuse_different_studies(ours: Evaluated, theirs: Evaluated) -> None:
    """Raise DataError unless both policies wrote for the same studies and the same judges scored them."""
    mine, other = ([row["study_id"] for row in e.rows] for e in (ours, theirs))
    if set(mine) != set(other):
        shared = len(set(mine) & set(other))
        only = [(e, len(set(a) - set(b))) for e, a, b in ((ours, mine, other), (theirs, other, mine))]
        raise DataError(
            f"{ours.folder} has {len(mine)} studies, {theirs.folder} has {len(other)}, {shared} in both "
            f"({', '.join(f'{n} only in {e.label}' for e, n in only if n)}). Policies are compared on the same "
            "studies: evaluate both with the same --config, --split and --studies."
        )
    keys = ("studies", "data.section", "judges", "scoring.truncated")
    differing = [key for key in keys if ours.about["of"].get(key) != theirs.about["of"].get(key)]
    if differing:
        what = {"studies": "reference reports or indications", "judges": "judges, or another version of their code"}
        raise DataError(
            f"{ours.folder} and {theirs.folder} have the same study ids, but other "
            f"{', '.join(what.get(key, key) for key in differing)}. Evaluate both again with the same configuration."
        )


def compare(ours: Evaluated, theirs: Evaluated) -> dict[str, Any]:
    """Paired: ours - theirs with intervals and p values, and how often ours is better.

    Raises DataError if they are not of the same studies and judges.
    """
    refuse_different_studies(ours, theirs)
    by_study = {row["study_id"]: row for row in theirs.rows}
    a, b = measures(ours.rows), measures([by_study[row["study_id"]] for row in ours.rows])
    both = [name for name in a if name in b]
    differences = {name: difference(a[name], b[name], ours.patients) for name in both}
    wide = {name: (mean_figure(a[name]), mean_figure(b[name])) for name in both}
    x, y = figures(ours.rows), figures([by_study[row["study_id"]] for row in ours.rows])
    for name in (name for name in x if name in y):
        wide[name] = paired(x[name], y[name])
        differences[name] = _difference(*wide[name], ours.patients)
    ps = {name: _p(*paired(*pair), ours.patients) for name, pair in wide.items()}
    wins = {name: win_rate(a[name], b[name], ours.patients, is_better_greater(name)) for name in both if is_score(name)}
    return {
        "of": ours.label,
        "against": theirs.label,
        "differences": {name: {**found.as_dict(), "p": ps[name]} for name, found in differences.items() if found},
        "win_rates": {name: found.as_dict() for name, found in wins.items()},
    }


def _difference(ours: Figure, theirs: Figure, patients: Sequence[int]) -> Estimate | None:
    found = bootstrap.difference(ours.statistic, ours.table(), theirs.table(), patients)
    return _pooled(found, ours.studies)


def _pooled(found: bootstrap.Estimate | None, studies: int) -> Estimate | None:
    return None if found is None else Estimate(found.value, found.low, found.high, studies)


def _p(ours: Figure, theirs: Figure, patients: Sequence[int]) -> float | None:
    return p_value(ours.statistic, ours.table(), theirs.table(), patients)


def is_score(metric: str) -> bool:
    """Whether a study is won or lost by it."""
    return metric == "reward" or metric.endswith("/mean") and metric.startswith(("rewards/", "guards/"))


def method() -> dict[str, Any]:
    return {
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "interval": "BCa bootstrap over patients",
        "pooled": f"percentile bootstrap over patients, {bootstrap.DRAWS} resamples",
        "p": f"paired randomisation over patients, {EXCHANGES} exchanges, two-sided",
    }
