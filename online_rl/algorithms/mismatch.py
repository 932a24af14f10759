"""vLLM samples and the trainer learns: importance weights between the two, and how far apart they are.

Legend: B completions, T tokens; `old_logp` is the trainer's log-probability of a token before the step's first update,
`sampled` vLLM's, of the same weights. Kernels and rounding differ, so rho = exp(old_logp - sampled) is near 1, not 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from online_rl.metric_types import Mean, Metrics

# E[rho], E[rho^2] - 1 and the effective sample size, of tokens and of completions.
LEVELS = (
    ("sampling/importance_sampling_ratio/mean", "sampling/chi2_token", "sampling/ess_token"),
    ("sampling/importance_sampling_ratio/sequence_mean", "sampling/chi2_sequence", "sampling/ess_sequence"),
)
LOG_BOUND = 20.0  # exp() of a sum over a long completion stays finite


def log_ratio(old_logp: Tensor, sampled: Tensor, mask: Tensor, level: str) -> Tensor:
    """log rho per token (B, T), or of whole completions (B, 1), nats; 0 on padding."""
    tokens = (old_logp - sampled).masked_fill(mask == 0, 0.0)
    return tokens.sum(-1, keepdim=True) if level == "sequence" else tokens


def correction_weights(
    old_logp: Tensor, sampled: Tensor, mask: Tensor, mode: str, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Weights that the policy's part of the loss is multiplied by, without gradient, and which of them met a bound.

    mode  token_truncate, sequence_truncate: rho clamped to [low, high] (Yao et al. 2025, "Your efficient RL framework
          secretly brings you off-policy RL training"; truncated importance sampling, Ionides 2008)
          token_mask, sequence_mask: rho inside [low, high], 0 outside (IcePop: Ling Team, arXiv 2510.18855)
    token_* has one rho per token; sequence_* one per completion, the product over its tokens.

    old_logp, sampled, mask  (B, T), nats
    returns                  two of (B, T) or (B, 1): weights, and 1.0 if rho lay outside the bounds
    """
    level, _, kind = mode.partition("_")
    rho = torch.exp(log_ratio(old_logp, sampled, mask, level).clamp(-LOG_BOUND, LOG_BOUND)).detach()
    outside = (rho < low) | (rho > high)
    weights = rho.clamp(low, high) if kind == "truncate" else rho.masked_fill(outside, 0.0)
    return weights, outside.to(rho.dtype)


def mismatch_sums(old_logp: Tensor, sampled: Tensor, mask: Tensor) -> Metrics:
    """Means that `mismatch_metrics` turns into diagnostics once they are merged over all ranks.

    old_logp, sampled, mask  (B, T); mask is 0 on padding and on rows that only fill up a pass
    """
    tokens, rows = float(mask.sum()), (mask.sum(-1) > 0).to(mask.dtype)  # (B,)
    log_rho = log_ratio(old_logp, sampled, mask, "token").double()
    rho = torch.exp(log_rho.clamp(-LOG_BOUND, LOG_BOUND))
    mean = log_rho.sum(-1) / mask.sum(-1).clamp(min=1.0)  # (B,)
    sequence = torch.exp(log_rho.sum(-1).clamp(-LOG_BOUND, LOG_BOUND))  # (B,)
    count = float(rows.sum())
    return {
        "sampling/kl": Mean(float(((rho - 1.0 - log_rho) * mask).sum()), tokens),
        "sampling/ppl_ratio": Mean(float((torch.exp(-mean) * rows).sum()), count),
        "sampling/importance_sampling_ratio/mean": Mean(float((rho * mask).sum()), tokens),
        "sampling/chi2_token": Mean(float((rho**2 * mask).sum()), tokens),
        "sampling/importance_sampling_ratio/sequence_mean": Mean(float((sequence * rows).sum()), count),
        "sampling/chi2_sequence": Mean(float((sequence**2 * rows).sum()), count),
    }


def mismatch_metrics(means: dict[str, float]) -> dict[str, float]:
    """Diagnostics from the global means of `mismatch_sums`.

    sampling/kl                       KL(vLLM || trainer) by k3 on vLLM's samples, nats per token
    sampling/ppl_ratio                trainer's perplexity of a completion over vLLM's, mean
    sampling/chi2_token, _sequence    E[rho^2] - 1: the variance that importance weights add
    sampling/ess_token, _sequence     effective sample size as a fraction of the samples, E[rho]^2 / E[rho^2]
    """
    result = dict(means)
    for first, chi2, ess in LEVELS:
        second = means.get(chi2)  # E[rho^2]
        if second:
            result[chi2] = second - 1.0
            result[ess] = means[first] ** 2 / second
    return result
