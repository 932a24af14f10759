"""Cases and scores as JSON: what a judge server and its client say to each other.

    GET  /judge   -> {"protocol": 2, "name", "use", "version", "hash", "granularity"}
    POST /score      {"cases": [{"study_id", "candidate", "reference", "raw_candidate", "raw_reference", "indication",
                                 "prompt", "completion_ids", "images", "columns"}, ...]}
                  -> {"name", "hash", "scores": [{"status", "value", "parts", "detail", "labels"}, ...]}     200
                  -> {"error": "..."}     400 not a request, 413 too large, 422 the judge broke its contract,
                                          503 the judge could not be reached or fell over

A server with several judges answers GET /judge with {"protocol": 2, "judges": [names]} and has each of them under
/NAME/judge and /NAME/score.

`candidate` and `reference` are cleaned; the raw texts may be left out if they are the same. An image is a path, or
`{"base64": ...}` for the bytes of an image file. `labels` is null or may be left out, otherwise
`{"said": [names], "true": [names]}`. No message holds report text.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

from judges.base import MOST_VALUE, Case, Labels, Score, Status
from judges.errors import JudgeError

PROTOCOL = 2


def encode_cases(cases: Sequence[Case]) -> bytes:
    """Raises JudgeError naming study and column where a further column of the row has no JSON form."""
    try:
        return json.dumps({"cases": [_case_to_json(case) for case in cases]}, allow_nan=False).encode()
    except (TypeError, ValueError):
        for case in cases:
            for column, value in case.columns.items():
                _check_column(case.study_id, column, value)
        raise


def decode_cases(body: bytes) -> list[Case]:
    """Raises ValueError for anything but a list of cases."""
    content = json.loads(body.decode("utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("cases"), list):
        raise ValueError("no list of cases")
    return [_case_from_json(item) for item in content["cases"]]


def encode_scores(scores: Sequence[Score]) -> list[dict[str, Any]]:
    return [
        {
            "status": score.status.value,
            "value": score.value,
            "parts": {name: float(value) for name, value in score.parts.items() if math.isfinite(value)},
            "detail": score.detail,
            "labels": None
            if score.labels is None
            else {"said": sorted(score.labels.said), "true": sorted(score.labels.true)},
        }
        for score in scores
    ]


def decode_score(item: Any) -> Score:
    """One score of an answer. What cannot be read is unscorable, never a number that was not sent."""
    if not isinstance(item, dict):
        return Score.unscorable("the server's answer is not a score")
    status, value, parts = item.get("status"), item.get("value"), item.get("parts") or {}
    detail = item["detail"] if isinstance(item.get("detail"), str) else ""
    if not isinstance(parts, dict) or not all(_is_finite(number) for number in parts.values()):
        return Score.unscorable("a part in the server's answer is not a finite number")
    if status == Status.FAILED.value:
        return Score.failed("the judge behind the server could not be reached")
    if status == Status.UNSCORABLE.value and value is None:
        return Score(None, Status.UNSCORABLE, parts, detail)
    if status == Status.SCORED.value and value is not None and _is_finite(value):
        numbers = {name: float(number) for name, number in parts.items()}
        try:
            return Score(float(value), Status.SCORED, numbers, detail, labels=_labels(item.get("labels")))
        except (TypeError, KeyError):
            return Score.unscorable("the labels in the server's answer are not two lists of names")
    return Score.unscorable("status and value in the server's answer do not fit")


def _labels(found: Any) -> Labels | None:
    """Raises TypeError or KeyError for anything but null or two lists of names."""
    if found is None:
        return None
    said, true = found["said"], found["true"]
    if not all(isinstance(names, list) and all(isinstance(n, str) for n in names) for names in (said, true)):
        raise TypeError
    return Labels(frozenset(said), frozenset(true))


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= MOST_VALUE  # false for NaN


def _case_to_json(case: Case) -> dict[str, Any]:
    return {
        "study_id": case.study_id,
        "candidate": case.candidate,
        "reference": case.reference,
        "raw_candidate": case.raw_candidate,
        "raw_reference": case.raw_reference,
        "indication": case.indication,
        "prompt": case.prompt,
        "completion_ids": list(case.completion_ids),
        "images": [_image_to_json(image) for image in case.images],
        "columns": case.columns,
    }


def _case_from_json(item: Any) -> Case:
    texts = ("study_id", "candidate", "reference", "raw_candidate", "raw_reference", "indication", "prompt")
    if not isinstance(item, dict) or not all(isinstance(item.get(key, ""), str) for key in texts):
        raise ValueError("a case is not an object of texts")
    if "candidate" not in item or "reference" not in item:
        raise ValueError("a case lacks candidate or reference")
    ids, images, columns = item.get("completion_ids", []), item.get("images", []), item.get("columns", {})
    if not isinstance(ids, list) or not isinstance(images, list) or not isinstance(columns, dict):
        raise ValueError("completion_ids and images are lists, columns is an object")
    return Case(
        **{key: item.get(key, "") for key in texts},
        completion_ids=tuple(ids),
        images=tuple(_image_from_json(image) for image in images),
        columns=columns,
    )


def _image_to_json(image: Any) -> Any:
    return {"base64": base64.b64encode(image).decode()} if isinstance(image, bytes) else str(image)


def _image_from_json(image: Any) -> Any:
    return base64.b64decode(image["base64"], validate=True) if isinstance(image, dict) else image


def _check_column(study_id: str, column: str, value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise JudgeError(
            f"study {study_id!r}: column {column!r} holds a {type(value).__name__} that JSON cannot carry to a judge "
            "server; expected text, finite numbers, lists or null. Convert the column."
        ) from None
