"""Online direct preference optimisation: best against worst of a group, learned from at once.

DPO: Rafailov et al., arXiv 2305.18290. Pairing: CheXalign, arXiv 2410.07025 (rank the samples of a study, keep best
and worst, drop ties).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def best_and_worst(rewards: Sequence[float | None], tie_threshold: float = 1e-8) -> tuple[int, int] | None:
    """Indices (chosen, rejected) of the best and worst scored candidate, or None where they tie.

    rewards        one per candidate, None where unscorable; those never enter a pair
    tie_threshold  a spread of at most this is a tie

    Among equals the first candidate wins, so the same rewards always give the same pair.
    """
    scored = [(r, i) for i, r in enumerate(rewards) if r is not None]
    if len(scored) < 2:
        return None
    best, chosen = max(scored, key=lambda entry: entry[0])  # max and min keep the first of equals
    worst, rejected = min(scored, key=lambda entry: entry[0])
    return None if best - worst <= tie_threshold else (chosen, rejected)


def dpo_margin(logp: Tensor, ref_logp: Tensor, beta: float) -> Tensor:
    """Implicit reward margin beta * ((logp_w - ref_w) - (logp_l - ref_l)) (DPO eq. 5).

    logp, ref_logp  (2P,) log-probabilities of whole completions, nats; even rows chosen (w), odd rows rejected (l)
    returns         (P,)
    """
    gain = logp - ref_logp  # (2P,)
    return beta * (gain[0::2] - gain[1::2])


def dpo_loss(logp: Tensor, ref_logp: Tensor, beta: float = 0.1) -> Tensor:
    """-log sigmoid(margin) of each pair (DPO eq. 7).

    logp, ref_logp  (2P,), as in `dpo_margin`
    returns         (P,); the caller divides the sum by the number of pairs over all ranks
    """
    return -torch.nn.functional.logsigmoid(dpo_margin(logp, ref_logp, beta))
