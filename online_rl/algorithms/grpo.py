"""Group relative policy optimisation (DeepSeekMath, arXiv 2402.03300), as pure functions of log-probabilities.

Shapes: B completions, T tokens of the longest one. `mask` is 1 on completion tokens, 0 on padding.
"""

from __future__ import annotations

import torch
from torch import Tensor


def k3_kl(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """k3 = exp(ref - logp) - (ref - logp) - 1, per token: unbiased for KL(policy || ref_model), never negative.

    Schulman, "Approximating KL divergence" (2020), http://joschu.net/blog/kl-approx.html; DeepSeekMath eq. 4.

    logp, ref_logp  (B, T) log-probabilities of the sampled tokens, nats
    returns         (B, T)
    """
    difference = ref_logp - logp
    return torch.exp(difference) - difference - 1.0


def clipped_policy_loss(ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-min(rho A, clip(rho, 1 - low, 1 + high) A), per token (PPO, arXiv 1707.06347, eq. 7; clip-higher: DAPO).

    ratio       (B, T) rho = pi(token) / pi_old(token)
    advantages  (B, 1) or (B, T)
    returns     (B, T)
    """
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def mean_per_completion(values: Tensor, mask: Tensor) -> Tensor:
    """sum_t(values * mask) / sum_t(mask) for every completion; 0 for a row with no token.

    values, mask  (B, T)
    returns       (B,)
    """
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)


def sum_over_limit(values: Tensor, mask: Tensor, limit: int) -> Tensor:
    """sum_t(values * mask) / limit for every completion: each token weighs the same in short and long ones.

    Dividing by the own length pays a short good completion more per token than a long good one, which pulls reports
    shorter (Dr. GRPO, Liu et al., arXiv 2503.20783, 3.1).

    values, mask  (B, T); limit: tokens that a completion may have
    returns       (B,)
    """
    return (values * mask).sum(-1) / limit


def grpo_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    ref_logp: Tensor | None = None,
    kl_coef: float = 0.0,
    limit: int | None = None,
) -> Tensor:
    """Loss of each completion: mean over its tokens of -min(rho A, clip(rho) A) + kl_coef * k3 (DeepSeekMath eq. 3).

    With `limit` the sum over its tokens is divided by that number instead of by its own length (Dr. GRPO).

    logp, old_logp, ref_logp  (B, T) log-probabilities of the sampled tokens under the policy that is trained, the
                              policy that sampled, and the ref_model; nats
    advantages                (B,)
    mask                      (B, T)
    returns                   (B,); the caller divides the sum by the number of completions over all ranks
    """
    ratio = torch.exp(logp - old_logp)  # (B, T)
    per_token = clipped_policy_loss(ratio, advantages[:, None], clip_low, clip_high)
    if kl_coef:
        if ref_logp is None:
            raise ValueError("kl_coef is above 0, but there are no ref_model log-probabilities")
        per_token = per_token + kl_coef * k3_kl(logp, ref_logp)
    return mean_per_completion(per_token, mask) if limit is None else sum_over_limit(per_token, mask, limit)


def clip_fractions(
    ratio: Tensor, advantages: Tensor, mask: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """How many tokens the clip holds back, as counts: ratio < 1 - low with A < 0, and ratio > 1 + high with A > 0.

    ratio, mask  (B, T)
    advantages   (B,)
    returns      (low, high), two scalars
    """
    low = (ratio < 1.0 - clip_low) & (advantages[:, None] < 0)
    high = (ratio > 1.0 + clip_high) & (advantages[:, None] > 0)
    return (low * mask).sum(), (high * mask).sum()
