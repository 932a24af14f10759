"""Stratified sampling: how often each training study is drawn, by the findings that its reference calls present.

    q(s) = (1 - e) / N + e x mean over the strata of s of 1 / (K n_stratum)

N studies in K strata: `normal`, and one for each finding that some reference calls present; a study with two findings
is in two strata. With e = 0 every study is drawn alike, with e = 1 every stratum. The mean over several strata makes
the sum fall short of 1, so q is divided by it. Normal studies keep a quarter of the draws.

Example: two normal studies, and one with an effusion, e = .5: K = 2, and a normal study gets .5 / 3 + .5 / (2 x 2) =
.2917, the one with the effusion .5 / 3 + .5 / (2 x 1) = .4167.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from online_rl.data.study import Study
from online_rl.errors import DataError
from online_rl.truth.findings import present

NORMAL = "normal"
EVEN = 0.5  # e of the formula
LEAST_NORMAL = 0.25  # share of the draws
MOST_TIMES = 10.0  # per epoch, of a study: a finding with three studies would otherwise be learned by heart

Strata = Sequence[frozenset[str]]  # one set of names per study


def read_strata(studies: Sequence[Study]) -> list[frozenset[str]]:
    """The strata of each study; none where the rules understand nothing in its reference.

    Raises DataError if they understand nothing in any.
    """
    found = [present(study.reference) for study in studies]
    if not any(findings is not None for findings in found):
        raise DataError(
            f"data.sampling=stratified: found no reference of {len(studies)} in which the rules read a finding or its "
            "absence, expected reports in English. Set data.sampling=shuffled."
        )
    return [frozenset() if findings is None else findings or frozenset({NORMAL}) for findings in found]


def draw_shares(strata: Strata, even: float = EVEN, least_normal: float = LEAST_NORMAL) -> list[float]:
    """q of each study, summing to 1. A study without strata counts as in the data: 1 / N in place of the mean."""
    total, sizes = len(strata), Counter(name for names in strata for name in names)
    stratum = {name: 1 / (len(sizes) * size) for name, size in sizes.items()}
    # Sorted, because sets have another order in every process, and ranks must come to the same last digit.
    means = [sum(stratum[n] for n in sorted(names)) / len(names) if names else 1 / total for names in strata]
    raw = [(1 - even) / total + even * mean for mean in means]
    q = [share / sum(raw) for share in raw]
    normal = sum(share for share, names in zip(q, strata, strict=True) if NORMAL in names)
    if 0 < normal < least_normal:
        up, down = least_normal / normal, (1 - least_normal) / (1 - normal)
        q = [share * (up if NORMAL in names else down) for share, names in zip(q, strata, strict=True)]
    return q


def times_per_epoch(strata: Strata) -> list[float]:
    """How often each study comes in an epoch, on average: N q, and `MOST_TIMES` at most."""
    return [min(MOST_TIMES, len(strata) * share) for share in draw_shares(strata)]


def prevalence(strata: Strata, times: Sequence[float]) -> dict[str, float]:
    """Stratum -> share of the studies that are in it, each counted as often as `times` says; the largest first."""
    sums: defaultdict[str, float] = defaultdict(float)
    for names, count in zip(strata, times, strict=True):
        for name in names:
            sums[name] += count
    return {name: value / sum(times) for name, value in sorted(sums.items(), key=lambda item: (-item[1], item[0]))}


def in_words(strata: Strata, times: Sequence[float]) -> str:
    """Both prevalences in a sentence: the data's, and that of the studies that are drawn."""
    data, drawn = prevalence(strata, [1.0] * len(strata)), prevalence(strata, times)
    shares = ", ".join(f"{name} {share:.1%} -> {drawn[name]:.1%}" for name, share in data.items())
    unread = sum(not names for names in strata)
    beside = f"; {unread} references that the rules do not understand are drawn as in the data" if unread else ""
    return f"data.sampling=stratified, share of the training studies -> share of the draws: {shares}{beside}"


class Drawn:
    """Counts what was drawn, for the metrics of a step."""

    def __init__(self, strata: Strata) -> None:
        self._strata = strata
        self._data = prevalence(strata, [1.0] * len(strata))
        self._counts: Counter[str] = Counter()
        self._draws = 0

    def count(self, studies: Sequence[int]) -> None:
        """Add studies that were drawn, by their places in the list."""
        self._draws += len(studies)
        self._counts.update(name for study in studies for name in self._strata[study])

    def metrics(self) -> dict[str, float]:
        """`strata/data/<stratum>` and `strata/drawn/<stratum>`: its share of the data, and of all draws so far."""
        metrics = {}
        for stratum, share in self._data.items() if self._draws else ():
            metrics[f"strata/data/{stratum}"] = share
            metrics[f"strata/drawn/{stratum}"] = self._counts[stratum] / self._draws
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {"draws": self._draws, "strata": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._draws, self._counts = state["draws"], Counter(state["strata"])
