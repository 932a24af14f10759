"""CISPO: clip the importance weight, keep every token's gradient (MiniMax-M1, arXiv 2506.13585)."""

from __future__ import annotations

from torch import Tensor


def cispo_loss(logp: Tensor, ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float) -> Tensor:
    """-sg(clip(rho, 1 - low, 1 + high)) A log pi, per token (MiniMax-M1 eq. 4 and 5); sg stops the gradient.

    PPO's clip removes the gradient of a clipped token; here the clip only bounds its weight, so that rare tokens, whose
    ratio moves most, continue to contribute. The paper sets no lower bound: clip_low = 1.

    logp, ratio  (B, T); advantages (B, 1) or (B, T)
    returns      (B, T)
    """
    weight = ratio.clamp(1.0 - clip_low, 1.0 + clip_high).detach()
    return -weight * advantages * logp
