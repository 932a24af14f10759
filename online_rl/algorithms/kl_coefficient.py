"""A coefficient of the KL term that holds the divergence to the ref_model at a target."""

from __future__ import annotations

from dataclasses import dataclass

# Ziegler et al.: the coefficient changes by at most this fraction of itself per step, for an error clipped at CLIP.
GAIN, CLIP = 0.1, 0.2


@dataclass
class KLCoefficient:
    """beta <- beta (1 + 0.1 clip(KL / target - 1, -0.2, 0.2)) (Ziegler et al., arXiv 1909.08593, 2.2).

    value   the coefficient now
    target  nats per token; None keeps it fixed
    """

    value: float
    target: float | None = None

    def update(self, kl: float) -> None:
        """Adapt to a step's mean KL over all ranks, so that every rank takes the same new value."""
        if self.target is not None:
            self.value *= 1.0 + GAIN * min(CLIP, max(-CLIP, kl / self.target - 1.0))
