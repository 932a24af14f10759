"""Present findings of reports against drawn labels, read by a reader that shares no code with the rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from online_rl.truth.counts import Claims, pooled, prefixed


class Reading(Protocol):
    """What a reader makes of one report."""

    @property
    def present(self) -> frozenset[str]:
        """Names, as in the labels, of the findings that it calls present."""

    @property
    def unknown(self) -> Collection[str]:
        """Sentences that the reader does not know."""

    @property
    def sentences(self) -> int: ...


Reader = Callable[[str], Reading]


def label_names(columns: dict[str, object]) -> frozenset[str] | None:
    """The names in a study's column `labels` ([{"name": "effusion", ...}, ...]); None without such a column."""
    labels = columns.get("labels")
    if not isinstance(labels, list) or not all(isinstance(label, dict) and "name" in label for label in labels):
        return None
    return frozenset(str(label["name"]) for label in labels)


def labels_metrics(claims: Sequence[Claims | None], unknown: int, sentences: int) -> dict[str, float]:
    """`labels/<name>`, as `findings/<name>` but against the labels; empty if no study has any.

    claims                    one per study; None without labels
    labels/unknown_sentences  share of the candidates' sentences that the reader does not know; they say nothing here
    """
    metrics = prefixed("labels", pooled([c for c in claims if c is not None]))
    if metrics and sentences:
        metrics["labels/unknown_sentences"] = unknown / sentences
    return metrics
