"""One row of `scores.jsonl`: what became of a study, as numbers and names of findings, without its text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from judges.base import Score, Status
from judges.text import clean_report, count_words, without_surrogates
from online_rl.commands.eval.wording import bleu_counts, rouge_l
from online_rl.commands.score.journal import Row
from online_rl.data.study import Study
from online_rl.truth.counts import Claims
from online_rl.truth.labels import Reader
from online_rl.truth.results import Result, result_of

if TYPE_CHECKING:
    from online_rl.scoring.scorer import Candidate

ROWS = 2  # version of what a row holds


def make_row(
    study: Study,
    candidate: Candidate | None,
    patients: Mapping[str, int],
    reports: bool,
    reader: Reader | None = None,
) -> Row:
    """One study; None for `candidate` if its images cannot be decoded.

    patients  id -> number: `patient` is a number within the file, so that the file names no patient
    reports   keep reference and candidate
    reader    reads reports for the comparison with drawn labels
    """
    who = {
        "study_id": without_surrogates(study.study_id),
        "patient": patients[study.patient],
    }
    if candidate is None:
        nothing = dict.fromkeys(
            ("reward", "words", "reference_words", "verbosity", "tokens", "truncated", "truth", "wording")
        )
        return {**who, "status": "bad_image", **nothing, "scores": {}, "guards": {}}
    completion, text = candidate.completion, candidate.completion.text.strip()
    answers = {**candidate.scores, **candidate.guards}
    if any(score.status is Status.FAILED for score in answers.values()):
        status = "failed"
    else:
        status = "unscorable" if candidate.reward is None else "scored"
    cleaned, reference = clean_report(text), clean_report(study.reference)
    texts = {"reference": study.reference, "candidate": text} if reports else {}
    return {
        **who,
        "status": status,
        "reward": candidate.reward,
        "words": candidate.words,
        "reference_words": count_words(reference),
        "verbosity": candidate.verbosity,
        "tokens": len(completion.ids),
        "truncated": completion.truncated,
        "truth": _truth(result_of(study, text, candidate.reward, reader)),
        "wording": {"bleu": bleu_counts(cleaned, reference), "rouge_l": rouge_l(cleaned, reference)},
        **{
            kind: {name: _score(score) for name, score in found.items()}
            for kind, found in (("scores", candidate.scores), ("guards", candidate.guards))
        },
        **{name: without_surrogates(text) for name, text in texts.items()},
    }


def result_from(row: Row, study: Study) -> Result | None:
    """The result that a row was made of. None without a report, or if an earlier version wrote the row."""
    truth = row.get("truth")
    if truth is None:
        return None
    return Result(
        study.study_id,
        study.patient,
        row["reward"],
        truth["report"],
        claims_from(truth["findings"]),
        claims_from(truth["labels"]),
        truth["unknown"],
        truth["sentences"],
    )


def claims_from(found: Mapping[str, list[str]] | None) -> Claims | None:
    return None if found is None else Claims(frozenset(found["said"]), frozenset(found["true"]))


def _truth(result: Result) -> dict[str, Any]:
    return {
        "report": result.report,
        "findings": _names(result.found),
        "labels": _names(result.labelled),
        "unknown": result.unknown,
        "sentences": result.sentences,
    }


def _score(score: Score) -> dict[str, Any]:
    labels = {} if score.labels is None else {"labels": _names(score.labels)}
    return {"value": score.value, "status": score.status.value, "parts": score.parts, **labels}


def _names(found: Any) -> dict[str, list[str]] | None:
    """`Claims` and `Labels` alike."""
    return None if found is None else {"said": sorted(found.said), "true": sorted(found.true)}
