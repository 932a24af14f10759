"""A battery that needs no labels: the user's own references, each with one edit whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from judges.base import Case
from judges.edits import HARMFUL, HARMLESS, LAYOUTS, split
from judges.strategies import REFERENCE, Constants, strategy_cases
from judges.text import clean_statements

Rewards = Mapping[str, "float | None"]  # of one study: row -> reward, None if it could not be scored

EDITS = (*HARMFUL, *HARMLESS, *LAYOUTS)
SEED = 0
SAME = 1e-6  # rewards that differ by less are the same: a judge may average floats


@dataclass(frozen=True)
class Row:
    """What one edit does to the reward, over the studies that it applies to and that could be scored.

    lower, same, higher  studies whose edited report earns less than the report itself, as much, or more
    change               mean of the edited report's reward less the report's own
    """

    name: str
    harmful: bool
    lower: int
    same: int
    higher: int
    change: float

    @property
    def studies(self) -> int:
        return self.lower + self.same + self.higher

    @property
    def right(self) -> float:
        """Share of studies in which the judge does what it should: less for harm, the same for none."""
        return (self.lower if self.harmful else self.same) / self.studies


def battery(cases: Sequence[Case], constants: Constants, patients: Sequence[str]) -> list[dict[str, Case]]:
    """For each study its report itself, its report with each edit that applies, and the cheap strategies.

    cases     with the references; their candidates play no part
    patients  one per case
    """
    strategies = strategy_cases(cases, constants, patients)
    studies = []
    for i, case in enumerate(cases):
        rng = random.Random(SEED + i)
        texts = edited(case.raw_reference or case.reference, rng)
        own = {name: _with(case, text) for name, text in texts.items()}
        studies.append({name: row[i] for name, row in strategies.items()} | own)
    return studies


def edited(report: str, rng: random.Random) -> dict[str, str]:
    """The report with each edit that applies to it, by the edit's name."""
    sentences = split(report)
    edits = {name: edit for name, (edit, _) in HARMFUL.items()} | HARMLESS | LAYOUTS
    made = {name: edit(sentences, rng) for name, edit in edits.items()} if sentences else {}
    return {name: " ".join(new) for name, new in made.items() if new}


def read_rows(rewards: Sequence[Rewards]) -> list[Row]:
    """Edits in the order of `judges.edits`; those that apply to no study are left out."""
    rows = []
    for name in EDITS:
        pairs = [(found.get(name), found.get(REFERENCE)) for found in rewards]
        changes = [new - own for new, own in pairs if new is not None and own is not None]
        if changes:
            lower, higher = sum(c < -SAME for c in changes), sum(c > SAME for c in changes)
            mean = sum(changes) / len(changes)
            rows.append(Row(name, name in HARMFUL, lower, len(changes) - lower - higher, higher, mean))
    return rows


def _with(case: Case, text: str) -> Case:
    return replace(case, candidate=clean_statements(text), raw_candidate=text, completion_ids=())
