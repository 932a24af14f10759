"""Algorithms: what to learn from scored rollouts. One formula per file, as pure functions; `learn_*` batch them.

Imported by `build`, `config`, `loop` and `policy`; imports `metric_types`, `ranks` and `rollout.types`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from online_rl.algorithms.base import Algorithm, LearnBatch, TokenBatch
from online_rl.algorithms.learn_grpo import GRPO
from online_rl.algorithms.learn_kto import OnlineKTO
from online_rl.algorithms.learn_preference import OnlinePreference

if TYPE_CHECKING:
    from online_rl.config import Config


def algorithm_class(name: str) -> type[Algorithm]:
    """The class behind a value of `algorithm.name`."""
    if name == "online_kto":
        return OnlineKTO
    return OnlinePreference if name.startswith("online_") else GRPO


def make_algorithm(cfg: Config) -> Algorithm:
    """The algorithm that `algorithm.name` chooses."""
    return algorithm_class(cfg.algorithm.name)(cfg)


__all__ = [
    "GRPO",
    "Algorithm",
    "LearnBatch",
    "OnlineKTO",
    "OnlinePreference",
    "TokenBatch",
    "algorithm_class",
    "make_algorithm",
]
