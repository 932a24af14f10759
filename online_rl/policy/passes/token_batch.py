"""What a loss is shown of a pass, and what is measured on it: tokens that the engine and the trainer agree on.

Legend: B completions, T tokens of the longest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from online_rl.algorithms import Sums, TokenBatch
from online_rl.algorithms.kl import k3_kl
from online_rl.algorithms.mismatch import mismatch_sums
from online_rl.policy.passes.collate import MicroBatch


def token_batch(mb: MicroBatch, logp: Tensor, old_logp: Tensor, ref_logp: Tensor | None, farthest: float) -> TokenBatch:
    """A pass as the loss sees it, log-probabilities all (B, T), nats.

    Tokens are masked whose log-probability vLLM did not know, or put more than `farthest` from the trainer's: one of
    both is wrong, and no weight makes that good. The latter stay in the denominators, which are known before the pass.
    """
    sampled = torch.where(torch.isfinite(mb.sampled), mb.sampled, old_logp)
    mask = mb.usable * ((old_logp - sampled).abs() <= farthest)
    return TokenBatch(logp, old_logp, ref_logp, sampled, mask, mb.advantages, mb.weights)


@torch.no_grad()
def token_metrics(mb: MicroBatch, seen: TokenBatch, entropy: Tensor) -> Sums:
    live = seen.live  # (B, T)
    count = float(live.sum())
    unusable = float((mb.mask * seen.weights.repeat_interleave(len(live) // len(seen.weights))[:, None]).sum()) - count
    difference = (seen.old_logp - seen.sampled).abs() * live
    sums: Sums = {
        "entropy": (float((entropy * live).sum()), count),
        "sampling/sampling_logp_difference/mean": (float(difference.sum()), count),
        "sampling/unusable_fraction": (unusable, count + unusable),
        "sampling/max": (float(difference.max()), 1.0),
    }
    if seen.ref_logp is not None:
        sums["kl"] = (float((k3_kl(seen.logp, seen.ref_logp) * live).sum()), count)
    return sums | mismatch_sums(seen.old_logp, seen.sampled, live)
