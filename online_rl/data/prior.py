"""The prior study of each: the same patient's latest one that is strictly earlier, in the same split."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from online_rl.data.study import Study

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_TIMED = re.compile(r"(\d{8})T(\d{6})(\.\d+)?")
_ISO = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2})(\.\d+)?)?)?.*")


def with_priors(studies: Sequence[Study]) -> list[Study]:
    """The same studies in the same order, each with its prior if it has one. Priors have no priors themselves.

    Studies of one moment are no priors of each other; a study without patient or date has none and is none.
    """
    dated: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for place, study in enumerate(studies):
        when = moment(study.date)
        if study.patient_id and when is not None:
            dated[study.patient_id, study.split].append((when, place))
    priors: dict[int, int] = {}
    for exams in dated.values():
        exams.sort()
        times = [when for when, _ in exams]
        for when, place in exams:
            earlier = bisect_left(times, when)
            if earlier:
                priors[place] = exams[earlier - 1][1]
    return [
        replace(study, prior=studies[priors[place]]) if place in priors else study
        for place, study in enumerate(studies)
    ]


def moment(date: str) -> float | None:
    """A date as a number that grows with time: 21800506, 2180-05-06, 21800506T213014.5, or an order such as 2.

    Dates of one data set are in one form, and only such are compared. None if it is in none of these.
    """
    text = date.strip()
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number * 1e6 if number >= 1e7 else number  # a day, so that it compares with one that has a time
    if found := _TIMED.fullmatch(text):
        day, time, part = found.groups()
        return float(day) * 1e6 + float(time) + float(part or 0)
    if found := _ISO.fullmatch(text):
        year, month, day, *clock = found.groups()
        hours, minutes, seconds, part = (piece or "0" for piece in clock)
        return (
            float(year + month + day) * 1e6 + float(hours) * 1e4 + float(minutes) * 1e2 + float(seconds) + float(part)
        )
    return None
