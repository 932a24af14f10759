"""Figures of a whole corpus: pooled F1, BLEU, shares. Each is a function of sums over studies.

A mean of values per study is one as well, so intervals by patient, paired differences and paired tests are the same
code for all (`truth.bootstrap`, `truth.paired_test`).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from online_rl.commands.eval.rows import claims_from
from online_rl.commands.eval.wording import corpus_bleu
from online_rl.commands.score.journal import Row
from online_rl.truth.bootstrap import Array, Statistic, f1, precision, ratio, recall
from online_rl.truth.counts import MACRO_POSITIVES, SHOWN_POSITIVES, Claims
from online_rl.truth.diversity import uniqueness

Counts = list["list[float] | None"]

# Published judges that are read otherwise than as a mean per study, by the word that their name or `use` holds.
INVERSE_MEANS = ("radcliq",)
# The labels of CheXbert (Smit et al. 2020); the five are those whose F1 CheXpert's competition and most papers report.
CHEXBERT_5 = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
CHEXBERT_14 = (
    *CHEXBERT_5,
    "Enlarged Cardiomediastinum",
    "Lung Opacity",
    "Lung Lesion",
    "Pneumonia",
    "Pneumothorax",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)


@dataclass(frozen=True)
class Figure:
    """statistic  sums (..., k) -> figures (...); nan where the figure is undefined
    counts     k numbers per study; None for one that takes no part
    """

    statistic: Statistic
    counts: Counts

    def table(self) -> Array:
        """(n, k), zeros for studies that take no part."""
        width = next((len(row) for row in self.counts if row is not None), 1)
        return np.array([row or [0.0] * width for row in self.counts], dtype=np.float64).reshape(-1, width)

    @property
    def studies(self) -> int:
        return sum(row is not None for row in self.counts)


def paired(ours: Figure, theirs: Figure) -> tuple[Figure, Figure]:
    """The two figures over the studies that take part in both."""
    both = [a is not None and b is not None for a, b in zip(ours.counts, theirs.counts, strict=True)]
    a, b = (
        Figure(figure.statistic, [row if kept else None for row, kept in zip(figure.counts, both, strict=True)])
        for figure in (ours, theirs)
    )
    return a, b


def mean_figure(values: Sequence[float | None]) -> Figure:
    """The mean of the values that are there."""
    return Figure(_ratio_of_two, [None if value is None else [float(value), 1.0] for value in values])


def figures(rows: Sequence[Row]) -> dict[str, Figure]:
    """Every corpus figure of the rows by its name (docs/eval.md); those without any study are absent."""
    truth = [row.get("truth") for row in rows]
    found: dict[str, Figure] = {}
    for kind in ("findings", "labels"):
        found |= _of_claims(kind, [claims_from(t[kind]) if t else None for t in truth])
    found |= _of_reports(truth)
    wording = [row.get("wording") or {} for row in rows]
    counts = [w.get("bleu") for w in wording]
    found |= {f"wording/bleu_{n}": Figure(functools.partial(corpus_bleu, order=n), counts) for n in (1, 4)}
    found["wording/rouge_l"] = mean_figure([w.get("rouge_l") for w in wording])
    for kind in ("scores", "guards"):
        for judge in dict.fromkeys(name for row in rows for name in row[kind]):
            found |= _of_judge(judge, [row[kind].get(judge) or {} for row in rows])
    return {name: figure for name, figure in found.items() if figure.studies}


def _of_claims(prefix: str, claims: Sequence[Claims | None]) -> dict[str, Figure]:
    """`truth.counts.pooled` with what it takes for intervals."""
    read = [c for c in claims if c is not None]
    positives = Counter(name for c in read for name in c.true)
    macro = sorted(name for name, n in positives.items() if n >= MACRO_POSITIVES)
    counts = _each(claims, lambda c: c.counts)
    silent = _each(claims, lambda c: (c.silent, 1))
    abnormal = _each(claims, lambda c: (c.silent and c.abnormal, c.abnormal))
    found = {
        "f1": Figure(f1, counts),
        "precision": Figure(precision, counts),
        "recall": Figure(recall, counts),
        "f1_macro": Figure(_macro, _each(claims, lambda c: counts_of(c, macro))),
        "none_share": Figure(_ratio_of_two, silent),
        "none_share_reference": Figure(_ratio_of_two, _each(claims, lambda c: (not c.abnormal, 1))),
        "silent_on_abnormal": Figure(_ratio_of_two, abnormal),
    }
    for name in (n for n in macro if positives[n] >= SHOWN_POSITIVES):
        found[f"f1/{name}"] = Figure(f1, _each(claims, functools.partial(counts_of, names=(name,))))
    if not macro:
        del found["f1_macro"]
    return {f"{prefix}/{name}": figure for name, figure in found.items()}


def _of_reports(truth: Sequence[Mapping[str, Any] | None]) -> dict[str, Figure]:
    """Shares of distinct reports and of the most frequent one; a report keeps the weight that it has among all."""
    reports = [t["report"] for t in truth if t]
    if not reports:
        return {}
    most = Counter(reports).most_common(1)[0][0]
    weights = iter(uniqueness(reports))
    return {
        "diversity/distinct": mean_figure([next(weights) if t else None for t in truth]),
        "diversity/largest_cluster": mean_figure([float(t["report"] == most) if t else None for t in truth]),
    }


def _of_judge(judge: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """What a judge's labels or values make of the corpus: `corpus/<judge>/<name>`."""
    found: dict[str, Figure] = {}
    claims = [claims_from(answer.get("labels")) for answer in answers]
    if any(c is not None for c in claims):
        found |= label_figures(claims)
    if any(word in judge.lower() for word in INVERSE_MEANS):
        values = [None if a.get("value") is None else published_value(a) for a in answers]
        found["inverse_mean"] = Figure(_inverse_mean, mean_figure(values).counts)
    return {f"corpus/{judge}/{name}": figure for name, figure in found.items()}


def published_value(answer: Mapping[str, Any]) -> float:
    """The judge's own value, before a transform and before length control, as papers report it."""
    parts = answer["parts"]
    return parts.get("untransformed", parts.get("raw", answer["value"]))


def label_figures(claims: Sequence[Claims | None]) -> dict[str, Figure]:
    """Micro and macro F1 of a judge's labels; for CheXbert's over 14 and over 5, and CheXalign's mean of these four.

    As in scikit-learn's report, which published scripts use, a label that neither side names counts 0 in CheXbert's
    macro F1. Of other label sets the macro F1 is over the labels that a reference names.
    """
    named = sorted({name for c in claims if c is not None for name in c.said | c.true})
    if not set(named) <= set(CHEXBERT_14):
        there = sorted({name for c in claims if c is not None for name in c.true})
        return {
            "f1_micro": Figure(f1, _each(claims, lambda c: c.counts)),
            "f1_macro": Figure(_macro, _each(claims, lambda c: counts_of(c, there))),
        }
    each = _each(claims, lambda c: counts_of(c, CHEXBERT_14))
    few = _each(claims, lambda c: counts_of(c, CHEXBERT_5))
    return {
        "f1_micro_14": Figure(_micro, each),
        "f1_macro_14": Figure(_macro_of_all, each),
        "f1_micro_5": Figure(_micro, few),
        "f1_macro_5": Figure(_macro_of_all, few),
        "chexalign_average": Figure(_chexalign, each),
    }


def counts_of(claims: Claims, names: Iterable[str]) -> list[float]:
    """TP, FP, FN of each name, one after the other: 3 numbers per name."""
    said, true = claims.said, claims.true
    return [float(n) for x in names for n in (x in said and x in true, x in said - true, x in true - said)]


def _each(claims: Sequence[Claims | None], count: Callable[[Claims], Iterable[float]]) -> Counts:
    return [None if c is None else [float(n) for n in count(c)] for c in claims]


def _by_name(sums: Array) -> Array:
    """(..., 3 F) -> (..., F, 3)."""
    return sums.reshape(*sums.shape[:-1], -1, 3)


def _macro(sums: Array) -> Array:
    """Mean F1 over the names that are said or there."""
    each = f1(_by_name(sums))  # (..., F)
    return ratio(np.nansum(each, axis=-1), np.isfinite(each).sum(axis=-1))


def _macro_of_all(sums: Array) -> Array:
    """Mean F1 over all names, 0 for one that is neither said nor there; nan if none is."""
    each = f1(_by_name(sums))
    return np.where(np.isfinite(each).any(axis=-1), np.nan_to_num(each).mean(axis=-1), np.nan)


def _micro(sums: Array) -> Array:
    return f1(_by_name(sums).sum(axis=-2))


def _chexalign(sums: Array) -> Array:
    """Sums of the 14, the five first: mean of micro and macro F1 over both sets."""
    few = sums[..., : 3 * len(CHEXBERT_5)]
    return np.mean([_micro(sums), _macro_of_all(sums), _micro(few), _macro_of_all(few)], axis=0)


def _ratio_of_two(sums: Array) -> Array:
    return ratio(sums[..., 0], sums[..., 1])


def _inverse_mean(sums: Array) -> Array:
    """1 / |mean| of sums (..., 2) of values and their number: as a reward the distance stands with a minus."""
    return np.abs(ratio(sums[..., 1], sums[..., 0]))
