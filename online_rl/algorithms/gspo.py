"""GSPO: the importance ratio of a whole completion (Zheng et al., arXiv 2507.18071)."""

from __future__ import annotations

import torch
from torch import Tensor


def sequence_ratio(logp: Tensor, old_logp: Tensor, mask: Tensor) -> Tensor:
    """s = (pi(y) / pi_old(y))^(1 / |y|) = exp(mean over tokens of logp - old_logp) (GSPO eq. 7).

    It replaces the ratio per token in `clipped_policy_loss`, so that a completion is clipped as a whole. As a geometric
    mean it stays much closer to 1, so its clip range is hundreds of times smaller.

    logp, old_logp, mask  (B, T), nats
    returns               (B, 1); 1 for a row with no token
    """
    mean = ((logp - old_logp) * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1.0)
    return torch.exp(mean)
