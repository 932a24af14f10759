"""Algorithms: what to learn from scored rollouts. One formula per file, as pure functions; `learn_*` batch them.

Imported by `build`, `loop` and `policy`; imports `config` and `rollout.types`.
"""

from online_rl.algorithms.base import Algorithm, LearnBatch, Sums, TokenBatch
from online_rl.algorithms.learn_grpo import GRPO
from online_rl.algorithms.learn_kto import OnlineKTO
from online_rl.algorithms.learn_preference import OnlinePreference
from online_rl.config import Config


def make_algorithm(cfg: Config) -> Algorithm:
    """The algorithm that `algorithm.name` chooses."""
    if cfg.algorithm.name == "online_kto":
        return OnlineKTO(cfg)
    return OnlinePreference(cfg) if cfg.algorithm.compares_pairs else GRPO(cfg)


__all__ = ["GRPO", "Algorithm", "LearnBatch", "OnlineKTO", "OnlinePreference", "Sums", "TokenBatch", "make_algorithm"]
