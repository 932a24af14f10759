"""The contract between the trainer and whatever scores a report: `Case` in, `Score` out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable


class Status(StrEnum):
    """What became of one case.

    SCORED      `Score.value` is a finite number.
    UNSCORABLE  the judge answered, but the answer cannot be read, or there is nothing to score against. The
                candidate leaves its group's baseline and carries no gradient. It is never 0.
    FAILED      the judge could not be reached. Retried within a budget, then the run saves and stops. Never 0 either.
    """

    SCORED = "scored"
    UNSCORABLE = "unscorable"
    FAILED = "failed"


@dataclass(frozen=True)
class Case:
    """One candidate report beside its reference report. Both texts are cleaned already (`online_rl.data.text`).

    `columns` holds further fields of the study's row for rewards in TRL's call form.
    """

    study_id: str
    candidate: str
    reference: str
    indication: str = ""
    images: tuple[Any, ...] = ()
    prompt: str = ""
    completion_ids: tuple[int, ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """What a judge says of one case.

    value    finite float when `status` is SCORED, else None
    parts    numbers behind it, such as error counts, matched findings, raw value, verbosity
    detail   the judge's analysis as text; it holds report text, so it stays out of logs unless asked for
    seconds  time the judge took for this case
    """

    value: float | None
    status: Status = Status.SCORED
    parts: dict[str, float] = field(default_factory=dict)
    detail: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
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
    def failed(cls, reason: str) -> Score:
        """The judge could not be reached."""
        return cls(None, Status.FAILED, {}, reason)

    def with_value(self, value: float, **parts: float) -> Score:
        """The same score with another value, and `parts` added to those it has."""
        return replace(self, value=value, parts={**self.parts, **parts})


@runtime_checkable
class Judge(Protocol):
    """Scores cases in batches: same length and order out as in. `score` may be a coroutine function."""

    name: str

    def score(self, cases: Sequence[Case]) -> list[Score]: ...
