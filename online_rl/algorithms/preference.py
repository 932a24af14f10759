"""Losses of pairs (chosen w, rejected l): DPO, R-DPO, hinge, IPO, SimPO, ORPO, and the SFT term. Pure functions.

Legend: P pairs; `logp` and `ref_logp` (2P,) are log-probabilities of whole completions under the policy and the
ref_model, nats, summed over tokens; `lengths` (2P,) counts those tokens. Even rows are chosen, odd rows rejected. Every
loss returns (P,); the caller divides the sum by the number of pairs over all ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def margin_of(rewards: Tensor) -> Tensor:
    """Chosen minus rejected: (2P,) -> (P,)."""
    return rewards[0::2] - rewards[1::2]


def sigmoid_loss(margin: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-(1 - e) log sigmoid(m) - e log sigmoid(-m): binary cross-entropy when a label is wrong with chance e.

    e = 0 is DPO's loss; above it, conservative DPO (Mitchell 2023, "A note on DPO with noisy preferences", eq. 3).
    """
    return -(1.0 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


def dpo_margin(logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    """Margin of DPO's implicit rewards: beta * ((logp_w - ref_w) - (logp_l - ref_l)) (P,)."""
    return margin_of(beta * (logp - ref_logp))


def dpo_loss(logp: Tensor, ref_logp: Tensor, beta: float = 0.1, label_smoothing: float = 0.0) -> Tensor:
    """-log sigmoid(margin) (DPO, Rafailov et al., arXiv 2305.18290, eq. 7)."""
    return sigmoid_loss(dpo_margin(logp, ref_logp, beta), label_smoothing)


def r_dpo_loss(
    logp: Tensor,
    ref_logp: Tensor,
    lengths: Tensor,
    beta: float = 0.1,
    alpha: float = 0.05,
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log sigmoid(margin + alpha (|y_w| - |y_l|)) (R-DPO, Park et al., arXiv 2403.19159, eq. 9).

    A pair whose chosen report is longer counts as partly won already, so it pushes less towards length; alpha is per
    token. CheXalign (arXiv 2410.07025) uses 0.05.
    """
    return sigmoid_loss(dpo_margin(logp, ref_logp, beta) + alpha * margin_of(lengths), label_smoothing)


def hinge_loss(logp: Tensor, ref_logp: Tensor, beta: float = 0.1) -> Tensor:
    """max(0, 1 - margin): nothing is learned from a pair that is won by 1 (SLiC-HF, Zhao et al., arXiv 2305.10425;
    on DPO's margin as in RSO, Liu et al., arXiv 2309.06657)."""
    return torch.relu(1.0 - dpo_margin(logp, ref_logp, beta))


def ipo_loss(logp: Tensor, ref_logp: Tensor, lengths: Tensor, tau: float = 0.1) -> Tensor:
    """(h - 1 / (2 tau))^2, h = margin of mean log-ratios per token (IPO, Azar et al., arXiv 2310.12036, eq. 17).

    The square pulls the margin to a fixed value, while DPO pushes it without end. TRL, too, takes the mean over tokens
    instead of the sum, and reports that the paper's authors confirmed it; with the sum the target would depend on
    length.
    """
    return (margin_of((logp - ref_logp) / lengths.clamp(min=1.0)) - 1.0 / (2.0 * tau)) ** 2


def simpo_loss(
    logp: Tensor, lengths: Tensor, beta: float = 2.0, gamma: float = 1.0, label_smoothing: float = 0.0
) -> Tensor:
    """-log sigmoid(beta (mean logp_w - mean logp_l) - gamma), means over tokens, no ref_model (SimPO, Meng et al.,
    arXiv 2405.14734, eq. 6)."""
    return sigmoid_loss(margin_of(beta * logp / lengths.clamp(min=1.0)) - gamma, label_smoothing)


def orpo_loss(logp: Tensor, lengths: Tensor, lam: float = 0.1) -> Tensor:
    """NLL_w - lam log sigmoid(log odds_w - log odds_l), odds = p / (1 - p) (ORPO, Hong et al., arXiv 2403.07691,
    eq. 6 and 7); log p and NLL are means over tokens. No ref_model: the likelihood of the chosen report is the anchor.
    """
    mean = logp / lengths.clamp(min=1.0)  # (2P,)
    log_odds = mean - _log_1m_exp(mean)
    return sft_loss(logp, lengths) - lam * logsigmoid(margin_of(log_odds))


def sft_loss(logp: Tensor, lengths: Tensor) -> Tensor:
    """Negative mean log-probability per token of the chosen report (P,): added to a preference loss it keeps the chosen
    report likely while the margin grows (RPO, Pang et al., arXiv 2404.19733, 2)."""
    return -logp[0::2] / lengths[0::2].clamp(min=1.0)


def _log_1m_exp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x <= 0; finite at 0, where a completion is certain (its odds have no bound)."""
    x = x.clamp(max=-1e-6)
    near_zero = x > -0.6931
    # Both branches get values for which they are exact and differentiable, even if the other one is taken.
    close, far = (
        torch.where(near_zero, x, torch.full_like(x, -0.5)),
        torch.where(near_zero, torch.full_like(x, -1.0), x),
    )
    return torch.where(near_zero, torch.log(-torch.expm1(close)), torch.log1p(-torch.exp(far)))
