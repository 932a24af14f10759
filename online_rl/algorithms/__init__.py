"""Algorithms: what to learn from scored rollouts. One formula per file, as pure functions; `learn_*` batch them.

Imported by `build`, `loop` and `policy`; imports `config`, `metric_types`, `ranks` and `rollout.types`. `config`
asks the classes what they need, by the place of each that its table names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from online_rl.algorithms.base import Algorithm, LearnBatch, TokenBatch
from online_rl.algorithms.learn_grpo import GRPO
from online_rl.algorithms.learn_kto import OnlineKTO
from online_rl.algorithms.learn_preference import OnlinePreference
from online_rl.config.algorithm import ALGORITHMS

if TYPE_CHECKING:
    from online_rl.config import Config


def algorithm_class(name: str) -> type[Algorithm]:
    """The class behind a value of `algorithm.name`; ConfigError if there is none, or its file raises."""
    return ALGORITHMS.load(name)


def make_algorithm(cfg: Config) -> Algorithm:
    """Make the algorithm that `algorithm.name` names: built in, or from outside (ConfigError if it cannot be used)."""
    found = algorithm_class(cfg.algorithm.name)
    if cfg.algorithm.is_built_in:
        return found(cfg)
    from online_rl.algorithms.outside import make_outside

    return make_outside(found, cfg)


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
