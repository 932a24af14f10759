"""The contract between the trainer and whatever scores a report: `Case` in, `Score` out."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from judges.errors import JudgeError

MOST_VALUE = 1e15  # in size; squares and sums of larger ones leave float32, in which advantages are computed


class Status(str, Enum):  # noqa: UP042 - StrEnum needs Python 3.11; a judge server may have an older one
    """What became of one case.

    SCORED      `Score.value` is a finite number.
    UNSCORABLE  the judge answered, but the answer cannot be read, or there is nothing to score against. The
                candidate leaves its group's baseline and carries no gradient. It is never 0.
    FAILED      the judge could not be reached. Retried within a budget, then the run saves and stops. Never 0 either.
    """

    SCORED = "scored"
    UNSCORABLE = "unscorable"
    FAILED = "failed"

    __str__ = str.__str__


@dataclass(frozen=True)
class Case:
    """One candidate report beside its reference report.

    candidate, reference          cleaned (`judges.text`): what the built-in judges read and words are counted in
    raw_candidate, raw_reference  as sampled and as the data have it; the cleaned text if they are not given
    columns                       further fields of the study's row, for rewards in TRL's call form

    `dataclasses.replace` with another candidate needs its raw text as well.
    """

    study_id: str
    candidate: str
    reference: str
    indication: str = ""
    images: tuple[Any, ...] = ()
    prompt: str = ""
    completion_ids: tuple[int, ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)
    raw_candidate: str = ""
    raw_reference: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "raw_candidate", self.raw_candidate or self.candidate)
        object.__setattr__(self, "raw_reference", self.raw_reference or self.reference)


@dataclass(frozen=True)
class Labels:
    """What a judge read in one pair: the findings that candidate and reference call present, under its own names.

    Figures of a whole corpus, such as CheXbert's macro F1, are made of these by `online-rl eval`.
    """

    said: frozenset[str]
    true: frozenset[str]


@dataclass(frozen=True)
class Score:
    """What a judge says of one case.

    value    finite float when `status` is SCORED, else None
    parts    numbers behind it, such as error counts, matched findings, raw value, verbosity
    detail   the judge's analysis as text; it holds report text, so it stays out of logs unless asked for
    seconds  time the judge took for this case
    labels   findings that it read in both reports; None for a judge that names none
    retry_after_s  of a FAILED one: how long the judge asks to be left alone, as in HTTP's Retry-After
    """

    value: float | None
    status: Status = Status.SCORED
    parts: dict[str, float] = field(default_factory=dict)
    detail: str = ""
    seconds: float = 0.0
    labels: Labels | None = None
    retry_after_s: float = 0.0

    def __post_init__(self) -> None:
        for name, number in {"value": self.value, **self.parts}.items():
            if name == "value" and number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, numbers.Real):
                raise ValueError(f"Score: {name} is of type {type(number).__name__}, expected a number.")
            if not abs(number) <= MOST_VALUE:
                raise ValueError(
                    f"Score: {name} is {float(number):g}, expected a finite number of at most {MOST_VALUE:g}."
                )
        if self.value is not None:  # NumPy's numbers become Python's, which every writer takes
            object.__setattr__(self, "value", float(self.value))
        object.__setattr__(self, "parts", {name: float(number) for name, number in self.parts.items()})
        scored = self.status is Status.SCORED
        if scored != (self.value is not None and math.isfinite(self.value)):
            raise ValueError(
                f"Score: status {self.status.value!r} does not fit value {self.value!r}; a scored case has a finite "
                "value, any other has None."
            )

    @classmethod
    def unscorable(cls, reason: str, **parts: float) -> Score:
        """The judge answered, but nothing can be concluded. `reason` must hold no report text."""
        return cls(None, Status.UNSCORABLE, dict(parts), reason)

    @classmethod
    def failed(cls, reason: str, retry_after_s: float = 0.0) -> Score:
        """The judge could not be reached; it is asked again, `retry_after_s` seconds later at the earliest."""
        return cls(None, Status.FAILED, {}, reason, retry_after_s=retry_after_s)

    def with_value(self, value: float, **parts: float) -> Score:
        """The same score with another value, and `parts` added to those it has."""
        return replace(self, value=value, parts={**self.parts, **parts})


@runtime_checkable
class Judge(Protocol):
    """Scores cases in batches: same length and order out as in. `score` may be a coroutine function.

    A judge may have more members, which the trainer uses if they exist:

    granularity = "group"         all candidates of a study in one call, in order
    orders_canaries = False       it looks at one side of a report alone, so that canaries prove nothing about it
    start() -> None               once per rank before the first sample; raises ConfigError when it cannot work
    sleep() -> None               all ranks have their scores and begin to train; returns when it needs no GPU memory
    wake() -> None                sampling begins and scores will be asked for; called in a thread beside it
    drain_metrics() -> dict       numbers since the last call, of this rank; they are summed over ranks
    fingerprint                   text that enters the judge's identity, such as the hash of a file that it reads
    adapt(mean_verbosity) -> None once per step, with the mean over all ranks
    state_dict(), load_state_dict(state)   what a checkpoint keeps of it
    close() -> None               at the end of the run
    """

    name: str

    def score(self, cases: Sequence[Case]) -> list[Score]: ...


def checked_scores(judge: Judge, cases: Sequence[Case], scores: Any, seconds: float = 0.0) -> list[Score]:
    """The judge's answer, if it is one Score per case; `seconds` are shared out among those it has not timed itself.

    Raises JudgeError, which names judge and study.
    """
    if not isinstance(scores, list) or len(scores) != len(cases):
        got = f"{len(scores)} scores" if isinstance(scores, list) else type(scores).__name__
        raise JudgeError(f"judge {judge.name!r} returned {got} for {len(cases)} cases; expected a list of Score.")
    for case, score in zip(cases, scores):  # noqa: B905 - as long as each other
        if not isinstance(score, Score):
            raise JudgeError(
                f"judge {judge.name!r}, study {case.study_id!r}: returned {type(score).__name__}, expected a Score."
            )
    return [s if s.seconds else replace(s, seconds=seconds / len(cases)) for s in scores]
