"""Advantages: how much better a completion is than the other candidates of its study.

Rewards come per group. None is a candidate whose answer could not be read: it enters no mean and no deviation, and has
no advantage.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

Rewards = Sequence[float | None]


def has_spread(rewards: Rewards, min_std: float) -> bool:
    """Whether a group carries gradient: two scored candidates, and a standard deviation above `min_std`."""
    scored = [r for r in rewards if r is not None]
    return len(scored) > 1 and sample_std(scored) > min_std


def group_advantage(rewards: Rewards, *, divide_by_std: bool = True, min_std: float = 1e-6) -> list[float | None]:
    """A_i = (r_i - mean(r)) / std(r), over the scored candidates of one group (DeepSeekMath, arXiv 2402.03300, 4.1.2).

    rewards        one per candidate; None if the judge's answer could not be read
    divide_by_std  False gives A_i = r_i - mean(r) (Dr. GRPO, arXiv 2503.20783)
    min_std        groups whose standard deviation is at most this carry no gradient: all their advantages are None

    std is the sample standard deviation (n - 1), as in TRL. Fewer than two scored candidates carry no gradient either.
    """
    if not has_spread(rewards, min_std):
        return [None] * len(rewards)
    scored = [r for r in rewards if r is not None]
    mean = sum(scored) / len(scored)
    scale = sample_std(scored) if divide_by_std else 1.0
    return [None if r is None else (r - mean) / scale for r in rewards]


def rloo_advantage(rewards: Rewards, *, min_std: float = 1e-6) -> list[float | None]:
    """A_i = r_i - mean of the other candidates' rewards (RLOO, Ahmadian et al., arXiv 2402.14740, eq. 8).

    With n scored candidates this is n / (n - 1) times the reward minus the group's mean: a baseline that does not
    contain the candidate itself.
    """
    if not has_spread(rewards, min_std):
        return [None] * len(rewards)
    scored = [r for r in rewards if r is not None]
    total, others = sum(scored), len(scored) - 1
    return [None if r is None else r - (total - r) / others for r in rewards]


def batch_std_advantage(rewards: Rewards, batch_std: float, *, min_std: float = 1e-6) -> list[float | None]:
    """A_i = (r_i - mean of its group) / std over all rewards of the step (Liu et al., arXiv 2508.08221, 4.1).

    batch_std  sample standard deviation of the scored rewards of all groups of all ranks: groups whose candidates
               hardly differ are not scaled up to the size of the others
    """
    centred = group_advantage(rewards, divide_by_std=False, min_std=min_std)
    return [None if a is None else a / batch_std for a in centred]


def sample_std(values: Sequence[float]) -> float:
    """Standard deviation with n - 1; 0 for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else 0.0
