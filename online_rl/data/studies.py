"""`Studies`: everything that was read of a data set, and what is to be said of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from online_rl.data.columns import Columns
from online_rl.data.quarantine import Quarantine
from online_rl.data.study import Study


@dataclass(frozen=True)
class Studies:
    """What was read. `report` counts rows, studies per split, and what was left out and why.

    quarantine  knows what was set aside so far; pixels that turn out to be damaged later count in the same budget
    columns     which columns were used and which were not; None for studies that had none
    first       reason in `report` -> the first row that was left out for it
    doubts      what a user should know before training on this, a sentence or two each
    """

    train: list[Study]
    eval: list[Study]
    test: list[Study] = field(default_factory=list)
    report: dict[str, int] = field(default_factory=dict)
    quarantine: Quarantine = field(default_factory=lambda: Quarantine(0))
    columns: Columns | None = None
    first: dict[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
