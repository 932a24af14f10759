"""The KL divergence to the ref_model: three estimators per token."""

from __future__ import annotations

import torch
from torch import Tensor


def k1_kl(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """k1 = logp - ref, per token: unbiased for KL(policy || ref_model), of either sign.

    Schulman, "Approximating KL divergence" (2020), http://joschu.net/blog/kl-approx.html.

    logp, ref_logp  (B, T) log-probabilities of the sampled tokens, nats
    returns         (B, T)
    """
    return logp - ref_logp


def k2_kl(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """k2 = (logp - ref)^2 / 2, per token: biased in value, but its gradient on the policy's own samples is that of
    KL(policy || ref_model) (Schulman 2020; Tang and Munos, arXiv 2506.09477).

    logp, ref_logp  (B, T); returns (B, T)
    """
    return 0.5 * (logp - ref_logp) ** 2


def k3_kl(logp: Tensor, ref_logp: Tensor) -> Tensor:
    """k3 = exp(ref - logp) - (ref - logp) - 1, per token: unbiased for KL(policy || ref_model), never negative.

    Schulman (2020); DeepSeekMath, arXiv 2402.03300, eq. 4.

    logp, ref_logp  (B, T); returns (B, T)
    """
    difference = ref_logp - logp
    return torch.exp(difference) - difference - 1.0


def kl_term(logp: Tensor, old_logp: Tensor, ref_logp: Tensor, estimator: str) -> Tensor:
    """KL term of the loss per token, before its coefficient.

    k1 is multiplied by the importance ratio rho = exp(logp - old_logp): the gradient of logp - ref alone is that of
    log pi, whose mean over the policy's samples is zero, so nothing would be learned (arXiv 2506.09477, 3).

    logp, old_logp, ref_logp  (B, T); returns (B, T)
    """
    if estimator == "k1":
        return torch.exp(logp - old_logp) * k1_kl(logp, ref_logp)
    return k2_kl(logp, ref_logp) if estimator == "k2" else k3_kl(logp, ref_logp)
