"""Advantages: how much better a completion is than the other candidates of its study."""

from __future__ import annotations

import math
from collections.abc import Sequence


def group_advantage(
    rewards: Sequence[float | None], *, divide_by_std: bool = True, min_std: float = 1e-6
) -> list[float | None]:
    """A_i = (r_i - mean(r)) / std(r), over the scored candidates of one group (DeepSeekMath, arXiv 2402.03300, 4.1.2).

    rewards        one per candidate; None where the judge's answer could not be read
    divide_by_std  False gives A_i = r_i - mean(r) (Dr. GRPO, arXiv 2503.20783)
    min_std        groups whose standard deviation is at most this teach nothing: all their advantages are None

    std is the sample standard deviation (n - 1), as in TRL. An unscorable candidate is in neither the mean nor the
    standard deviation, and its own advantage is None. Fewer than two scored candidates teach nothing either.
    """
    scored = [r for r in rewards if r is not None]
    if len(scored) < 2:
        return [None] * len(rewards)
    mean = sum(scored) / len(scored)
    std = math.sqrt(sum((r - mean) ** 2 for r in scored) / (len(scored) - 1))
    if std <= min_std:
        return [None] * len(rewards)
    scale = std if divide_by_std else 1.0
    return [None if r is None else (r - mean) / scale for r in rewards]
