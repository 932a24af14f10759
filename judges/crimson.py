"""The judge `crimson`: CRIMSON's prompt and arithmetic (the package `crimson-score`), asked of a server of your own.

CRIMSON (Baharoon et al., arXiv 2603.06183) lists the abnormal findings of both reports with their clinical
significance, matches them, and weighs what is false, missing or wrong in a detail: in (-1, 1], 0 for no better than a
normal template.

It departs from the package where that invents a number: the answer is read as the rubric judge reads, without repair.
A significance, severity or id that the format does not have, and a finding that stands nowhere or in two places, make
the case unscorable instead of counting .25 or nothing. So does an empty candidate, which CRIMSON calls perfect on a
normal study.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from judges.base import Score
from judges.errors import ConfigError
from judges.rubric.judge import RubricJudge
from judges.rubric.rubric import UnreadableAnswer, read_answer

MODEL = "rajpurkarlab/medgemma-4b-it-crimson"
SYSTEM = "You are an expert radiology evaluator that assesses the accuracy of radiology reports."  # the package's
SIGNIFICANCE = ["urgent", "actionable_not_urgent", "not_actionable_not_urgent", "benign_expected"]
ERROR_TYPES = [
    *("location", "severity", "descriptor", "measurement"),
    *("certainty", "unspecific", "overinterpretation", "temporal"),
]


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": properties,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT = {"type": "string"}
_FINDINGS = _list(_object(id=_TEXT, finding=_TEXT, clinical_significance={"enum": SIGNIFICANCE}))
_ATTRIBUTE_ERRORS = _list(
    _object(
        ref_id=_TEXT,
        pred_id=_TEXT,
        severity={"enum": ["significant", "negligible"]},
        error_types={**_list({"enum": ERROR_TYPES}), "minItems": 1},
        explanation=_TEXT,
    )
)
SCHEMA = _object(
    reference_findings=_FINDINGS,
    predicted_findings=_FINDINGS,
    matched_findings=_list(_object(ref_id=_TEXT, pred_id=_TEXT)),
    errors=_object(false_findings=_list(_TEXT), missing_findings=_list(_TEXT), attribute_errors=_ATTRIBUTE_ERRORS),
)


class Crimson:
    """What the rubric judge wants of a rubric, from the package `crimson-score`.

    guidelines  whether the prompt has the package's guidelines, which a general model needs and CRIMSON's own model was
                trained without
    """

    name = "crimson"
    schema = SCHEMA
    empty = Score.unscorable("the candidate is empty, which CRIMSON calls perfect on a normal study")

    def __init__(self, guidelines: bool) -> None:
        self.guidelines = guidelines
        try:
            from CRIMSON import generate_score, prompt_parts
        except ImportError as problem:
            raise ConfigError(
                f"judge crimson: the package crimson-score cannot be imported here ({type(problem).__name__}). Install "
                "it without what only its own models need: pip install --no-deps -r requirements/crimson.txt"
            ) from problem
        self._build: Callable[..., str] = prompt_parts.build_prompt
        self._calculate: Callable[..., dict[str, Any]] = generate_score.CRIMSONScore._calculate_crimson
        self._files = [Path(str(module.__file__)) for module in (generate_score, prompt_parts)]

    @cached_property
    def fingerprint(self) -> str:
        code = b"\0".join(file.read_bytes() for file in self._files)
        return hashlib.sha256(code + str(self.guidelines).encode()).hexdigest()

    def messages(self, reference: str, candidate: str, indication: str) -> list[dict[str, str]]:
        prompt = self._build(
            reference,
            candidate,
            patient_context={"indication": indication} if indication else None,
            include_significance_examples=self.guidelines,
            include_attribute_guidelines=self.guidelines,
            include_context_guidelines=self.guidelines,
        )
        return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]

    def score(self, text: str) -> Score:
        """The score that an answer states. Raises UnreadableAnswer; nothing is repaired or guessed."""
        answer = read_answer(text, self.schema)
        check_ids(answer)
        found = self._calculate(None, answer)  # a method that makes no use of its object
        counts = found["error_counts"]
        parts = {name: counts[name] for name in ("false_findings", "missing_findings", "attribute_errors")}
        return Score(found["crimson_score"], parts=parts)


def check_ids(answer: dict[str, Any]) -> None:
    """See that every finding has one id and one place, as CRIMSON's prompt demands. Raises UnreadableAnswer.

    A finding of the reference is matched or missing; one of the candidate is matched or false.
    """
    reference = [finding["id"] for finding in answer["reference_findings"]]
    predicted = [finding["id"] for finding in answer["predicted_findings"]]
    for ids in (reference, predicted):
        if len(set(ids)) < len(ids):
            raise UnreadableAnswer("an id stands for two findings")
    matched, errors = answer["matched_findings"], answer["errors"]
    for ids, key, rest in (
        (reference, "ref_id", errors["missing_findings"]),
        (predicted, "pred_id", errors["false_findings"]),
    ):
        places = Counter(rest) + Counter({pair[key] for pair in matched})
        if set(places) != set(ids) or max(places.values(), default=1) > 1:
            raise UnreadableAnswer("a finding stands nowhere, in two places, or was never listed")
    pairs = {(pair["ref_id"], pair["pred_id"]) for pair in matched}
    if not {(error["ref_id"], error["pred_id"]) for error in errors["attribute_errors"]} <= pairs:
        raise UnreadableAnswer("an attribute error is about findings that are not matched")


class CrimsonJudge(RubricJudge):
    """CRIMSON of an LLM behind an OpenAI-compatible server; the other arguments are the rubric judge's.

    model       name under which the server has it
    guidelines  the package's guidelines in the prompt; None: for any model but CRIMSON's own
    """

    def __init__(
        self, url: str | None = None, model: str = MODEL, guidelines: bool | None = None, **settings: Any
    ) -> None:
        rules = Crimson(model != MODEL if guidelines is None else guidelines)
        super().__init__(url, model=model, rubric=rules, **{"max_tokens": 4096, **settings})
        self.name = "crimson"
