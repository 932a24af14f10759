"""Questions about the demo's own X-rays: view, presence and side, from the labels that they were drawn by.

Of every study outside the training split: which view it is, whether one finding that it has and one that it has not is
present, and the side of one that has a side.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

VIEWS = ("AP", "PA")
SIDES = ("left", "right")


def rows(studies: Sequence[Mapping[str, Any]], split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(row, item) of every question, whose item holds `question`, `options`, `answer` (an index), `task`,
    `image_paths` and `patient_id`."""
    known = sorted({label["name"] for study in studies for label in study["labels"]})
    for study in studies:
        if study["split"] == "train":
            continue
        row, names = study["study_id"], [label["name"] for label in study["labels"]]
        pictures = {"image_paths": study["image_paths"], "patient_id": study["patient_id"]}
        if study["view"] in VIEWS:
            options = {"options": VIEWS, "answer": VIEWS.index(study["view"])}
            yield f"{row}/view", {"task": "view", "question": "Which view is this?", **options, **pictures}
        absent = [name for name in known if name not in names]
        for answer, choice in enumerate((names, absent)):
            if choice:
                name = _one_of(choice, row)
                asked = {"question": f"Does the image show {_words(name)}?", "options": ("yes", "no"), "answer": answer}
                yield f"{row}/presence/{name}", {"task": "presence", **asked, **pictures}
        sided = [label for label in study["labels"] if label.get("side") in SIDES]
        if sided:
            name = _one_of(sorted({label["name"] for label in sided}), row)
            side = next(label["side"] for label in sided if label["name"] == name)
            asked = {"question": f"On which side is the {_words(name)}?", "answer": SIDES.index(side)}
            yield f"{row}/side/{name}", {"task": "side", "options": SIDES, **asked, **pictures}


def _one_of(names: Sequence[str], row: str) -> str:
    """The same one in every run, spread over the names."""
    return names[int.from_bytes(sha256(row.encode()).digest()[:4], "big") % len(names)]


def _words(name: str) -> str:
    return name.replace("_", " ")
