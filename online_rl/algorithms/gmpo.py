"""GMPO: the geometric mean of a completion's token ratios (Zhao et al., arXiv 2507.20673)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from online_rl.algorithms.learn_grpo import GRPO

if TYPE_CHECKING:
    from torch import Tensor


def geometric_mean_ratio(
    log_ratio: Tensor, advantages: Tensor, mask: Tensor, clip_low: float, clip_high: float
) -> Tensor:
    """exp(mean over tokens of min(log rho, log(1 + high))) if A > 0, of max(log rho, log(1 - low)) if A < 0.

    GMPO, arXiv 2507.20673, 3: the arithmetic mean of GRPO follows a single outlying token, the geometric one hardly.
    Tokens are clipped one by one, and only in the direction in which the advantage pushes, as in PPO; the paper's
    range is [e^-0.4, e^0.4].

    log_ratio   (B, T) log pi - log pi_old, nats
    advantages  (B, 1)
    returns     (B, 1); 1 for a row with no token
    """
    import torch

    low = math.log1p(-clip_low) if clip_low < 1 else -math.inf
    bounded = torch.where(advantages > 0, log_ratio.clamp(max=math.log1p(clip_high)), log_ratio.clamp(min=low))
    return torch.exp((bounded * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1.0))


class GMPO(GRPO):
    """GRPO with one value per completion, -A times the geometric mean of its clipped token ratios."""

    def policy_loss(self, logp: Tensor, ratio: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        o = self.options
        log_ratio = ratio.clamp(min=1e-30).log()  # finite, also of a token that has become impossible
        return -advantages * geometric_mean_ratio(log_ratio, advantages, mask, o.clip_low, o.clip_high)
