"""KTO: desirable and undesirable candidates without pairs (Ethayarajh et al., arXiv 2402.01306)."""

from __future__ import annotations

import torch
from torch import Tensor


def kto_loss(
    logp: Tensor,
    ref_logp: Tensor,
    labels: Tensor,
    z: float,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """weight * (1 - sigmoid(label * (beta * (logp - ref_logp) - beta * z))) (KTO eq. 7 and 8).

    logp, ref_logp  (B,) log-probabilities of whole completions, nats
    labels          (B,) 1 desirable, -1 undesirable
    z               the point of comparison, `kto_baseline`; carries no gradient
    returns         (B,); the caller divides the sum by the number of candidates over all ranks
    """
    value = torch.sigmoid(labels * beta * (logp - ref_logp - z))
    weights = torch.where(labels > 0, desirable_weight, undesirable_weight)
    return weights * (1.0 - value)


def kto_baseline(mean_log_ratio: float) -> float:
    """z = max(0, mean of log pi(y|x) - log pi_ref(y|x)): KL(policy || ref_model) of whole completions, nats.

    The paper, which learns from stored reports, estimates it on reports paired with other prompts. Online, the
    candidates are the policy's own samples for their prompt, so their mean estimates the same divergence directly.
    """
    return max(0.0, mean_log_ratio)
