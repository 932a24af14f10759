"""`data.where`: the studies that are trained on, by view, number of images, words of the reference, or any column.

    {view: [PA, AP], images: [1, 2], words: [5, null], sex: F}

A study must meet every condition. Two numbers are a range with both ends, null leaves one open; a list of texts names
the values that will do. `split` says which splits must meet the conditions, the training split if it is missing.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from judges.text import clean_report, count_words
from online_rl.data.cells import is_missing
from online_rl.data.columns import plain_name
from online_rl.data.split_words import SPLIT_OF
from online_rl.data.study import Study
from online_rl.errors import DataError

KEY = "data.where"
RANGES = {"images": "images", "words": "words in the reference"}
OWN = ("view", "split", *RANGES)
SHOWN = 12  # views or columns in a message

Conditions = Mapping[str, Any]


def problem_of(where: Conditions) -> str | None:
    """What is wrong with the conditions before any data are read; None if nothing is."""
    for name, value in where.items():
        if name in RANGES:
            if not _is_range(value):
                return (
                    f"{KEY}.{name}: found {value!r}, expected a whole number, or the least and the most, such as "
                    "[1, 2] or [5, null]. Write it so."
                )
        elif not (wanted := _listed(value)) or not all(isinstance(item, str | int | float) for item in wanted):
            return (
                f"{KEY}.{name}: found {value!r}, expected a value or a list of values that will do, such as [PA, AP]. "
                "Write it so, or remove it."
            )
    unknown = [word for word in _listed(where.get("split", [])) if _text(word) not in SPLIT_OF]
    if unknown:
        return f"{KEY}.split: found {unknown[0]!r}, expected train, eval or test. Correct it."
    if set(where) == {"split"}:
        return (
            f"{KEY}: found split alone, expected a condition beside it: split says which studies must meet the others. "
            "Add view, images, words or a column, or remove it."
        )
    return None


def select(
    studies: Sequence[Study], where: Conditions, max_images: int, leave_out: Callable[[str, str], None]
) -> tuple[list[Study], list[str]]:
    """The studies that meet the conditions, and those of the other splits; and doubts about values that nobody has.

    max_images  images that are shown: a study's view is that of one of them
    leave_out   called with the reason (the key) and the row of each study that is left out

    Raises DataError for a column that no study has, and if nothing is left of a split.
    """
    splits = {SPLIT_OF[_text(word)] for word in _listed(where.get("split", "train"))}
    conditions = [_condition(name, value, studies, max_images) for name, value in where.items() if name != "split"]
    concerned = [study for study in studies if study.split in splits]
    for split in sorted(splits):
        _refuse_nothing(split, [study for study in concerned if study.split == split], conditions)
    kept = []
    for study in studies:
        unmet = next((c for c in conditions if study.split in splits and not c.meets(study)), None)
        if unmet is None:
            kept.append(study)
        else:
            leave_out(unmet.key, study.source)
    return kept, [doubt for condition in conditions for doubt in condition.doubts(concerned)]


class _Condition(ABC):
    """One entry of data.where."""

    key: str

    @abstractmethod
    def meets(self, study: Study) -> bool:
        """Whether the study may be used, as far as this entry is concerned."""

    @abstractmethod
    def expected(self) -> str:
        """What would meet it, in words."""

    @abstractmethod
    def found(self, studies: Sequence[Study]) -> str:
        """What these studies have instead, in words; no value of a column, which may be a patient's."""

    def remedy(self, studies: Sequence[Study]) -> str:
        return "Set what the data have, or remove the condition."

    def doubts(self, studies: Sequence[Study]) -> list[str]:
        """What a user may have meant otherwise, a sentence each."""
        return []


@dataclass(frozen=True)
class _Range(_Condition):
    key: str
    least: int | None
    most: int | None
    unit: str
    count: Callable[[Study], int]

    def meets(self, study: Study) -> bool:
        count = self.count(study)
        return (self.least is None or count >= self.least) and (self.most is None or count <= self.most)

    def expected(self) -> str:
        if self.least == self.most:
            return f"{self.least} {self.unit}"
        if self.least is None:
            return f"at most {self.most} {self.unit}"
        return f"{f'at least {self.least}' if self.most is None else f'{self.least} to {self.most}'} {self.unit}"

    def found(self, studies: Sequence[Study]) -> str:
        counts = [self.count(study) for study in studies]
        return f"{min(counts)} to {max(counts)}"


@dataclass(frozen=True)
class _Values(_Condition):
    """role  of the column, where there is one: only its values are shown in messages"""

    key: str
    wanted: dict[str, str]  # as compared -> as written
    of: Callable[[Study], Sequence[Any]]
    role: str = ""

    def meets(self, study: Study) -> bool:
        return any(_text(item) in self.wanted for item in self.of(study))

    def expected(self) -> str:
        return " or ".join(self.wanted.values())

    def found(self, studies: Sequence[Study]) -> str:
        values = self._values(studies)
        if not self.role or not values:
            return f"{len(values) or 'no'} other value{'' if len(values) == 1 else 's'}"
        return ", ".join(f"{value[:SHOWN]} ({count})" for value, count in values.most_common(SHOWN))

    def remedy(self, studies: Sequence[Study]) -> str:
        if self.role and not self._values(studies):
            return f"Name their column by data.columns={{{self.role}: NAME}}, or remove the condition."
        return super().remedy(studies)

    def _values(self, studies: Sequence[Study]) -> Counter[str]:
        return Counter(text for study in studies for item in self.of(study) if (text := str(item).strip()))

    def doubts(self, studies: Sequence[Study]) -> list[str]:
        there = {_text(item) for study in studies for item in self.of(study)}
        absent = [written for compared, written in self.wanted.items() if compared not in there]
        return [f"{self.key}: no study has {' or '.join(absent)}. Is it spelt as in the data?"] if absent else []


def _condition(name: str, value: Any, studies: Sequence[Study], max_images: int) -> _Condition:
    if name in RANGES:
        least, most = value if isinstance(value, list) else (value, value)
        count = _images if name == "images" else _words
        return _Range(f"{KEY}.{name}", least, most, RANGES[name], count)
    wanted = {_text(item): str(item) for item in _listed(value)}
    if name == "view":
        return _Values(f"{KEY}.view", wanted, lambda study: study.views[:max_images], role="views")
    columns = dict.fromkeys(column for study in studies for column in study.columns)
    spelt = [column for column in columns if plain_name(column) == plain_name(name)]
    if not spelt:
        near = difflib.get_close_matches(name, [*OWN, *columns], 1)
        hint = f" Did you mean {near[0]!r}?" if near else " Correct or remove it."
        raise DataError(
            f"{KEY}.{name}: found no study with a column {name!r}, expected {', '.join(OWN)}, or a column that is kept "
            f"with the studies: {', '.join(list(columns)[: 2 * SHOWN]) or 'there is none'}.{hint}"
        )

    def cells(study: Study) -> Sequence[Any]:
        cell = next((study.columns[column] for column in spelt if column in study.columns), None)
        return [item for item in _listed(cell) if not is_missing(item)]

    return _Values(f"{KEY}.{name}", wanted, cells)


def _refuse_nothing(split: str, studies: Sequence[Study], conditions: Sequence[_Condition]) -> None:
    """Raise DataError if the split has studies and none of them meets everything."""
    if not studies or any(all(c.meets(study) for c in conditions) for study in studies):
        return
    met = {condition.key: sum(map(condition.meets, studies)) for condition in conditions}
    unmet = next((condition for condition in conditions if not met[condition.key]), None)
    if unmet is not None:
        raise DataError(
            f"{unmet.key}: found {unmet.found(studies)} in the {len(studies)} studies of the {split} split, expected "
            f"{unmet.expected()} in at least one. {unmet.remedy(studies)}"
        )
    shares = ", ".join(f"{key.removeprefix(KEY + '.')} {count}" for key, count in met.items())
    raise DataError(
        f"{KEY}: found no study of the {split} split that meets everything, expected at least one of {len(studies)}; "
        f"met by {shares}. Loosen a condition, or remove one."
    )


def _images(study: Study) -> int:
    return len(study.images)


def _words(study: Study) -> int:
    return count_words(clean_report(study.reference))


def _is_range(value: Any) -> bool:
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) != 2 or ends == [None, None]:
        return False
    if any(end is not None and (type(end) is not int or end < 0) for end in ends):
        return False
    return None in ends or ends[0] <= ends[1]


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: Any) -> str:
    """As values are compared: without regard to case, and 1.0 as 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()
