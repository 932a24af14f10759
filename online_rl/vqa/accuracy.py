"""Accuracy by source and task with intervals, and McNemar's test between two policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from online_rl.truth import bootstrap

Row = dict[str, Any]  # question_id, source, task, group, status, right


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """`all`, `<source>` and `<source>/<task>` -> accuracy with interval, questions, unreadable answers.

    An unreadable answer is a wrong one. A question whose image cannot be decoded was not asked, and is left out.
    """
    found = {}
    for name, part in _parts(rows).items():
        asked = [row for row in part if row["status"] != "bad_image"]
        accuracy = bootstrap.mean([float(row["right"]) for row in asked], [row["group"] for row in asked])
        found[name] = {
            "accuracy": accuracy and accuracy.value,
            "low": accuracy and accuracy.low,
            "high": accuracy and accuracy.high,
            "questions": len(asked),
            "unreadable": sum(row["status"] == "unreadable" for row in asked),
            "not_asked": len(part) - len(asked),
        }
    return found


def compare(ours: Sequence[Row], theirs: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Difference of accuracy with interval, and McNemar's exact p, by the same names, over questions asked of both."""
    other = {row["question_id"]: row for row in theirs if row["status"] != "bad_image"}
    both = [row for row in ours if row["status"] != "bad_image" and row["question_id"] in other]
    found = {}
    for name, part in _parts(both).items():
        pairs = [(row["right"], other[row["question_id"]]["right"]) for row in part]
        change = bootstrap.mean([float(a) - float(b) for a, b in pairs], [row["group"] for row in part])
        gained, lost = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
        found[name] = {
            "difference": change and change.value,
            "low": change and change.low,
            "high": change and change.high,
            "only_ours_right": gained,
            "only_theirs_right": lost,
            "p": mcnemar(gained, lost),
        }
    return found


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p that a question which one policy alone answers rightly is as often either's (McNemar 1947).

    >>> mcnemar(8, 1)  # 2 (1 + 9) / 2^9
    0.0390625
    """
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def _parts(rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    parts: dict[str, list[Row]] = {}
    for name in ("all", *sorted({n for row in rows for n in (row["source"], f"{row['source']}/{row['task']}")})):
        parts[name] = [row for row in rows if name in ("all", row["source"], f"{row['source']}/{row['task']}")]
    return parts
