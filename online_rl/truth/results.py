"""One result per study of an evaluation, without its text, and the numbers that an evaluation reports from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from online_rl.data.study import Study
from online_rl.truth.counts import Claims
from online_rl.truth.diversity import diversity_metrics, same_report
from online_rl.truth.findings import claims_of, findings_metrics
from online_rl.truth.labels import Reader, label_names, labels_metrics


@dataclass(frozen=True)
class Result:
    """What became of one study; it travels between ranks, so a hash stands for the report.

    reward     None if no judge could score it
    report     equal for equal reports
    found      by the rules, against the reference; None if they understand nothing in the reference
    labelled   by the second reader, against the labels; None without a reader or labels
    unknown    sentences that the second reader does not know, of `sentences`
    """

    study_id: str
    patient: str
    reward: float | None
    report: str
    found: Claims | None
    labelled: Claims | None = None
    unknown: int = 0
    sentences: int = 0


def result_of(study: Study, text: str, reward: float | None, reader: Reader | None = None) -> Result:
    """Compare the report as it was written with the reference as the radiologist wrote it."""
    report = hashlib.sha256(same_report(text).encode("utf-8", "replace")).hexdigest()[:16]
    found = claims_of(text, study.reference)
    labels = label_names(study.columns)
    if reader is None or labels is None:
        return Result(study.study_id, study.patient, reward, report, found)
    reading = reader(text)
    return Result(
        study.study_id,
        study.patient,
        reward,
        report,
        found,
        labelled=Claims(reading.present, labels),
        unknown=len(reading.unknown),
        sentences=reading.sentences,
    )


def truth_metrics(results: Sequence[Result]) -> dict[str, float]:
    """`findings/...`, `labels/...` and `diversity/...`; what cannot be known is absent, never 0."""
    abnormal = [r.found.abnormal if r.found is not None else None for r in results]
    return {
        **findings_metrics([r.found for r in results]),
        **labels_metrics(
            [r.labelled for r in results], sum(r.unknown for r in results), sum(r.sentences for r in results)
        ),
        **diversity_metrics([r.report for r in results], abnormal),
    }
