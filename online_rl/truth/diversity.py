"""Whether reports differ from each other, word for word.

Both figures depend on the number of reports: more studies give more twins. Compare evaluations of the same studies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def diversity_metrics(reports: Sequence[str], abnormal: Sequence[bool | None] = ()) -> dict[str, float]:
    """`diversity/<name>` of one report per study; empty without reports.

    abnormal          whether the study's reference calls something present, where that is known; it adds
                      distinct_abnormal and largest_cluster_abnormal, of those studies alone
    distinct          number of different reports / number of reports
    largest_cluster   share of the reports that equal the most frequent one
    """
    if not reports:
        return {}
    metrics = {f"diversity/{name}": value for name, value in _figures(reports).items()}
    sick = [report for report, is_abnormal in zip(reports, abnormal, strict=False) if is_abnormal]
    if sick:
        metrics |= {f"diversity/{name}_abnormal": value for name, value in _figures(sick).items()}
    return metrics


def _figures(reports: Sequence[str]) -> dict[str, float]:
    count = Counter(map(same_report, reports))
    return {"distinct": len(count) / len(reports), "largest_cluster": max(count.values()) / len(reports)}


def uniqueness(reports: Sequence[str]) -> list[float]:
    """1 / number of reports that equal this one, itself included; the sum over all is the number of distinct ones."""
    count = Counter(map(same_report, reports))
    return [1 / count[same_report(report)] for report in reports]


def same_report(report: str) -> str:
    """What two reports must share to count as one: the words, whatever the whitespace between them."""
    return " ".join(report.split())
