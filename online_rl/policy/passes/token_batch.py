"""A pass as the loss sees it, and what is measured on it: tokens on which vLLM and the trainer agree.

Legend: B completions, T tokens of the longest.
"""

from __future__ import annotations

import torch
from torch import Tensor

from online_rl.algorithms import TokenBatch
from online_rl.algorithms.kl import k3_kl
from online_rl.algorithms.mismatch import mismatch_sums
from online_rl.metric_types import Max, Mean, Metrics
from online_rl.policy.passes.collate import MicroBatch

DIFFERENCE = "sampling/sampling_logp_difference/mean"  # nats per token between trainer and vLLM
LARGEST_DIFFERENCE = "sampling/sampling_logp_difference/max"
UNUSABLE = "sampling/unusable_fraction"


def token_batch(mb: MicroBatch, logp: Tensor, old_logp: Tensor, ref_logp: Tensor | None, farthest: float) -> TokenBatch:
    """A pass as the loss sees it, all log-probabilities (B, T), nats.

    A token is masked if vLLM reported no finite log-probability for it, or one more than `farthest` from the trainer's:
    one of the two is wrong, and no weight corrects that. The latter stay in the denominators, which are known before
    the pass.
    """
    sampled = torch.where(torch.isfinite(mb.sampled), mb.sampled, old_logp)
    mask = mb.usable * ((old_logp - sampled).abs() <= farthest)
    return TokenBatch(logp, old_logp, ref_logp, sampled, mask, mb.advantages, mb.weights)


@torch.no_grad()
def token_metrics(mb: MicroBatch, seen: TokenBatch, entropy: Tensor) -> Metrics:
    """Entropy, KL, and how far trainer and vLLM differ, over the pass's live tokens. entropy (B, T), nats."""
    live = seen.live  # (B, T)
    count = float(live.sum())
    unusable = float((mb.mask * seen.weights.repeat_interleave(len(live) // len(seen.weights))[:, None]).sum()) - count
    difference = (seen.old_logp - seen.sampled).abs() * live
    metrics: Metrics = {
        "entropy": Mean(float((entropy * live).sum()), count),
        DIFFERENCE: Mean(float(difference.sum()), count),
        UNUSABLE: Mean(unusable, count + unusable),
        LARGEST_DIFFERENCE: Max(float(difference.max())),
    }
    if seen.ref_logp is not None:
        metrics["kl"] = Mean(float((k3_kl(seen.logp, seen.ref_logp) * live).sum()), count)
    return metrics | mismatch_sums(seen.old_logp, seen.sampled, live)
