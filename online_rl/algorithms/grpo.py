"""The clipped policy loss of GRPO, Dr. GRPO and DAPO, and how token losses are added up. Pure functions.

Shapes: B completions, T tokens of the longest one. `mask` is 1 on completion tokens, 0 on padding.
"""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_policy_loss(
    ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float, dual_clip: float | None = None
) -> Tensor:
    """-min(rho A, clip(rho, 1 - low, 1 + high) A), per token (PPO, arXiv 1707.06347, eq. 7; clip-higher: DAPO).

    With `dual_clip` c, if A < 0, the loss is at most -c A: min() alone puts no bound on the weight of a token that has
    become likely again (Ye et al., arXiv 1912.09729, eq. 5). It must be above 1 + clip_high.

    ratio       (B, T) rho = pi(token) / pi_old(token), or (B, 1) of whole completions
    advantages  (B, 1) or (B, T)
    returns     the shape of ratio
    """
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    bounded = ratio if dual_clip is None else ratio.clamp(max=dual_clip)
    return -torch.minimum(bounded * advantages, clipped * advantages)


def mean_per_completion(values: Tensor, mask: Tensor) -> Tensor:
    """sum_t(values * mask) / sum_t(mask) for every completion; 0 for a row with no token.

    values, mask  (B, T)
    returns       (B,)
    """
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)


def sum_over_limit(values: Tensor, mask: Tensor, limit: int) -> Tensor:
    """sum_t(values * mask) / limit for every completion: each token has the same weight in short and long ones.

    Dividing by a completion's own length rewards a short good completion more per token than a long good one, which
    makes reports shorter (Dr. GRPO, Liu et al., arXiv 2503.20783, 3.1).

    values, mask  (B, T); limit: the most tokens a completion may have
    returns       (B,)
    """
    return (values * mask).sum(-1) / limit


def reduce_tokens(per_token: Tensor, mask: Tensor, loss_type: str, limit: int) -> Tensor:
    """Loss of each completion (B,) from those of its tokens; the denominator of the sum over them is in brackets.

    grpo     mean over its own tokens (completions); DeepSeekMath eq. 3
    dr_grpo  sum over its tokens / limit (completions); Dr. GRPO, arXiv 2503.20783
    dapo     sum over its tokens (tokens of all completions), the same weight for each; DAPO, arXiv 2503.14476, eq. 8

    per_token  (B, T), or (B, 1) for one value per completion
    """
    per_token = per_token.expand_as(mask)
    if loss_type == "grpo":
        return mean_per_completion(per_token, mask)
    return sum_over_limit(per_token, mask, limit if loss_type == "dr_grpo" else 1)


def clip_fractions(
    ratio: Tensor, advantages: Tensor, mask: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """Number of tokens that the clip holds back: ratio < 1 - low with A < 0, and ratio > 1 + high with A > 0.

    ratio       (B, T), or (B, 1) of whole completions, which then counts for each token
    mask        (B, T)
    advantages  (B,)
    returns     (low, high), two scalars
    """
    low = (ratio < 1.0 - clip_low) & (advantages[:, None] < 0)
    high = (ratio > 1.0 + clip_high) & (advantages[:, None] > 0)
    return (low * mask).sum(), (high * mask).sum()
