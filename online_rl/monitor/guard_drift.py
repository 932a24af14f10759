"""The sign of a gamed judge: a guard falls while the reward rises."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeGuard

from online_rl.monitor.records import Record

BLOCK = 10  # steps that are averaged before they are compared
STANDARD_ERRORS = 5.0  # a change counts when it is larger than this many of its own standard errors


@dataclass(frozen=True)
class Block:
    """Mean and squared standard error of one metric over `BLOCK` steps that end with step `last`."""

    first: int
    last: int
    mean: float
    error2: float

    def rose_to(self, later: Block) -> bool:
        change = later.mean - self.mean
        return change > STANDARD_ERRORS * math.sqrt(self.error2 + later.error2) and change > 0


class GuardDrift:
    """Compares every block of steps with every earlier one, per guard; blocks are few (100 in 1,000 steps)."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._steps: dict[str, list[tuple[int, float, float]]] = {}
        self._blocks: dict[str, list[tuple[Block, Block]]] = {}  # guard -> (reward, guard)
        for record in records:
            if not record.get("eval"):
                for _ in self.hints(record["step"], record):
                    pass

    def hints(self, step: int, metrics: Record) -> Iterator[tuple[str, str]]:
        """Yield (kind, sentence) for each guard that this step shows falling while the reward rises."""
        reward = metrics.get("reward")
        for name, value in metrics.items():
            guard = name.removeprefix("guards/").removesuffix("/mean")
            if name != f"guards/{guard}/mean" or not (_is_number(value) and _is_number(reward)):
                continue
            steps = self._steps.setdefault(guard, [])
            steps.append((step, reward, value))
            if len(steps) == BLOCK:
                self._steps[guard] = []
                yield from self._compare(guard, _block(steps, 1), _block(steps, 2))

    def _compare(self, guard: str, reward: Block, value: Block) -> Iterator[tuple[str, str]]:
        earlier = self._blocks.setdefault(guard, [])
        for old_reward, old_value in earlier:
            if old_reward.rose_to(reward) and value.rose_to(old_value):
                yield (
                    f"guard {guard}",
                    f"guard {guard!r} fell from {old_value.mean:.3f} to {value.mean:.3f} between steps "
                    f"{old_value.first}-{old_value.last} and {value.first}-{value.last}, while the reward rose from "
                    f"{old_reward.mean:.3f} to {reward.mean:.3f}: if a higher value of it is better, the policy may be "
                    "gaming the judge. Read its reports, and think of the guard as a judge or a gate (only_if).",
                )
                break
        earlier.append((reward, value))


def _block(steps: list[tuple[int, float, float]], column: int) -> Block:
    values = [row[column] for row in steps]
    return Block(steps[0][0], steps[-1][0], statistics.fmean(values), statistics.variance(values) / len(values))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
