"""The files of four sets of questions, as their authors publish them, and the demo's studies.

| format    | file                                                  | kept                                   |
|-----------|-------------------------------------------------------|----------------------------------------|
| chexbench | data.json: task -> list                               | tasks with options                     |
| rexvqa    | {train,valid,test}_vqa_data.json: list, or dict by id | all                                    |
| vqa_rad   | "VQA_RAD Dataset Public.json": list                   | closed; split test: phrase_type test_* |
| slake     | {train,validate,test}.json: list                      | closed, in English                     |
| demo      | studies.jsonl of a drawn world                        | about its labels (demo.py)             |

A row that cannot be asked (no answer among its options, no image, more images than are shown) is left out, counted and
named.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from online_rl.errors import ConfigError, DataError
from online_rl.vqa import demo
from online_rl.vqa.questions import LETTERS, YES_NO, Question

DEMO = "demo"
Item = Mapping[str, Any]


class _CannotBeAsked(ValueError):
    """A row that is no question. The message says which key, what was found and what is expected."""


@dataclass(frozen=True)
class Questions:
    """left_out   one line per row that cannot be asked
    too_many  of those with more images than are shown: how many images each has
    """

    questions: list[Question] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    too_many: list[int] = field(default_factory=list)

    def remedy(self) -> str:
        """A sentence, behind a blank, on what to set so that more questions are asked; empty if no key would help."""
        if not self.too_many:
            return ""
        return (
            f" {len(self.too_many)} of them have more images than are shown; data.max_images={max(self.too_many)} "
            "asks them too."
        )


def read_questions(
    name: str,
    path: Path,
    image_root: Path | None = None,
    split: str = "test",
    asked_by: str = "--questions",
    max_images: int | None = None,
) -> Questions:
    """Every closed question of a file.

    image_root  where image paths start; None: beside the file, or in the folder that the set calls its images
    split       of vqa_rad, whose file holds both: test, or train for the rest
    asked_by    option or key that named the file, for messages
    max_images  data.max_images: whoever is shown fewer images than a question is about answers another question

    Raises ConfigError for an unknown format, DataError for a file that is none or holds no question.
    """
    if name not in FORMATS:
        raise ConfigError(f"{asked_by}: found format {name!r}, expected one of {', '.join(FORMATS)}.")
    try:
        text = path.read_text(encoding="utf-8")
        # Bare NaN included, which two of the sets hold.
        content = [json.loads(line) for line in text.splitlines()] if name == DEMO else json.loads(text)
    except OSError as problem:
        raise DataError(f"{asked_by}: {path}: cannot be read ({problem.strerror}).") from None
    except ValueError:
        raise DataError(f"{asked_by}: {path}: not JSON; expected the set's own file (docs/eval.md).") from None
    rows, make, folders = FORMATS[name]
    roots = [image_root] if image_root else [path.parent / folder for folder in folders]
    found = Questions()
    try:
        for row, item in rows(content, split):
            place = f"{path.name}: {row}"
            try:
                question = make(item, row, place, roots)
                images = len(question.images)
                if max_images is not None and images > max_images:
                    found.too_many.append(images)
                    raise _CannotBeAsked(f"found {images} images, expected at most data.max_images={max_images}")
                found.questions.append(question)
            except _CannotBeAsked as problem:
                found.left_out.append(f"{place}: {problem}")
    except (TypeError, AttributeError, KeyError):
        raise DataError(f"{asked_by}: {path}: not laid out as {name} (docs/eval.md). Check the format.") from None
    if not found.questions:
        why = f"; {len(found.left_out)} cannot be asked, such as {found.left_out[0]}" if found.left_out else ""
        raise DataError(f"{asked_by}: {path}: holds no closed question of {name}{why}.{found.remedy()}")
    return found


def _chexbench_rows(content: Any, split: str) -> Iterator[tuple[str, Item]]:
    for task, items in content.items():
        for i, item in enumerate(items):
            if any(key.startswith("option_") for key in item):  # not the tasks that ask for a report
                yield f"{task}[{i}]", {**item, "task": task}


def _chexbench(item: Item, row: str, place: str, roots: list[Path]) -> Question:
    keys = sorted((key for key in item if re.fullmatch(r"option_\d", key)), key=lambda key: int(key[7:]))
    options = [_text(item[key]) for key in keys]
    while options and not options[-1]:  # NaN behind the last one
        options.pop()
    if not all(options):
        raise _CannotBeAsked(f"{keys[options.index('')]}: found nothing between options")
    answer = _index(item.get("answer"), len(options))
    images = _images(item.get("image_path"), roots)
    task = item["task"]
    return Question(
        f"chexbench/{row}", "chexbench", task, images, _asked(item), tuple(options), answer, images[0], place
    )


def _listed_rows(content: Any, split: str) -> Iterator[tuple[str, Item]]:
    if isinstance(content, dict):
        yield from ((str(key), {**item}) for key, item in content.items())
    else:
        yield from ((f"[{i}]", {**item}) for i, item in enumerate(content))


def _rexvqa(item: Item, row: str, place: str, roots: list[Path]) -> Question:
    raw = item.get("options")
    if not isinstance(raw, list) or not raw or not all(_text(option) for option in raw):
        raise _CannotBeAsked("options: expected a list of texts")
    options = _without_letters([_text(option) for option in raw])
    letter = _text(item.get("correct_answer")).strip("(). ").upper()
    if len(letter) != 1 or letter not in LETTERS[: len(options)]:
        raise _CannotBeAsked(f"correct_answer: found {letter[:20]!r}, expected one of {LETTERS[: len(options)]}")
    images = _images(item.get("ImagePath"), roots)
    group = _text(item.get("PatientID")) or images[0]
    task = _text(item.get("task_name")) or "all"
    answer = LETTERS.index(letter)
    return Question(f"rexvqa/{row}", "rexvqa", task, images, _asked(item), tuple(options), answer, group, place)


def _vqa_rad_rows(content: Any, split: str) -> Iterator[tuple[str, Item]]:
    for row, item in _listed_rows(content, split):
        is_test = _text(item.get("phrase_type")).startswith("test")
        if _is_closed(item) and is_test == (split == "test"):
            yield row, item


def _slake_rows(content: Any, split: str) -> Iterator[tuple[str, Item]]:
    for row, item in _listed_rows(content, split):
        if _is_closed(item) and _text(item.get("q_lang")) in ("", "en"):
            yield row, item


def _vqa_rad(item: Item, row: str, place: str, roots: list[Path]) -> Question:
    return _closed(item, row, place, _images(item.get("image_name"), roots), "vqa_rad", "question_type")


def _slake(item: Item, row: str, place: str, roots: list[Path]) -> Question:
    return _closed(item, row, place, _images(item.get("img_name"), roots), "slake", "content_type")


def _closed(item: Item, row: str, place: str, images: tuple[str, ...], source: str, kind: str) -> Question:
    """A closed question without options: yes or no, or a word."""
    answer = _text(item.get("answer")).strip()
    if not answer:
        raise _CannotBeAsked("answer: found nothing")
    task = _text(item.get(kind)) or "closed"
    yes_no = answer.lower().strip(" .") in YES_NO
    options, right = (YES_NO, YES_NO.index(answer.lower().strip(" ."))) if yes_no else ((), answer)
    return Question(f"{source}/{row}", source, task, images, _asked(item), options, right, images[0], place)


def _demo(item: Item, row: str, place: str, roots: list[Path]) -> Question:
    images, options = _images(list(item["image_paths"]), roots), tuple(item["options"])
    group, task = item["patient_id"], item["task"]
    return Question(f"demo/{row}", DEMO, task, images, _asked(item), options, item["answer"], group, place)


def _is_closed(item: Item) -> bool:
    return _text(item.get("answer_type")).strip().upper() == "CLOSED"


def _asked(item: Item) -> str:
    text = _text(item.get("question")).strip()
    if not text:
        raise _CannotBeAsked("question: found nothing")
    return text


def _index(value: Any, options: int) -> int:
    number = int(value) if _text(value).strip().isdigit() else -1
    if not 0 <= number < options:
        raise _CannotBeAsked(f"answer: found {_text(value)[:20]!r}, expected 0 to {options - 1}")
    return number


def _without_letters(options: list[str]) -> list[str]:
    """Options as texts, without "A. ", "B) " in front if all have it."""
    found = [re.match(rf"\(?{letter}\s*[.):]\s*(.+)", text) for letter, text in zip(LETTERS, options, strict=False)]
    return [match[1].strip() for match in found if match] if all(found) else options


def _images(value: Any, roots: list[Path]) -> tuple[str, ...]:
    """A path, "a|b", or a list; each under the first root that has it."""
    names = value.split("|") if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and n.strip() for n in names):
        raise _CannotBeAsked("image: found no path")
    return tuple(_place(name.strip(), roots) for name in names)


def _place(name: str, roots: list[Path]) -> str:
    paths = [root / re.sub(r"^(\.\./|/)+", "", name) for root in roots]
    return str(next((path for path in paths if path.is_file()), paths[0]))


def _text(value: Any) -> str:
    """Numbers as text; null and NaN as the empty text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


Rows = Callable[[Any, str], Iterator[tuple[str, Item]]]
Make = Callable[[Item, str, str, list[Path]], Question]
FORMATS: dict[str, tuple[Rows, Make, tuple[str, ...]]] = {
    "chexbench": (_chexbench_rows, _chexbench, ("", "images")),
    "rexvqa": (_listed_rows, _rexvqa, ("", "..", "../deid_png")),
    "vqa_rad": (_vqa_rad_rows, _vqa_rad, ("VQA_RAD Image Folder", "images", "")),
    "slake": (_slake_rows, _slake, ("imgs", "")),
    DEMO: (demo.rows, _demo, ("",)),
}
