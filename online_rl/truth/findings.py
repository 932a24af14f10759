"""Present findings of reports against those of their references, both read by the rules of `judges.findings`."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from judges.findings.parse import parse
from online_rl.truth.counts import Claims, pooled, prefixed

NO_FINDINGS = (
    "the rules read no finding in any reference report (another language?), so findings/* are absent, not 0, and the "
    "alarms that need them cannot ring. Watch a guard that reads your reports."
)


@functools.lru_cache(maxsize=16_384)
def present(text: str) -> frozenset[str] | None:
    """The findings that a report calls present; None if the rules understand nothing in it, not even a denial."""
    findings = parse(text).findings
    return frozenset(entity for entity, finding in findings.items() if finding.present) if findings else None


def claims_of(candidate: str, reference: str) -> Claims | None:
    """None if the rules understand nothing in the reference: that study has no answer.

    A candidate in which they understand nothing calls nothing present.
    """
    true = present(reference)
    return None if true is None else Claims(present(candidate) or frozenset(), true)


def findings_metrics(found: Sequence[Claims | None]) -> dict[str, float]:
    """`findings/<name>` over the studies whose references are understood; empty if none is (see NO_FINDINGS).

    findings/unread_references  share of the references in which the rules understand nothing; absent if it is 0
    """
    read = [c for c in found if c is not None]
    metrics = prefixed("findings", pooled(read))
    if read and len(read) < len(found):
        metrics["findings/unread_references"] = 1 - len(read) / len(found)
    return metrics
