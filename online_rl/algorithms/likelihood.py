"""Likelihood of given reports: the loss of supervised fine-tuning, in the form in which the policy takes losses.

    loss = - sum over tokens of log p(token | image, prompt, tokens before it) / number of those tokens

over all completion tokens of an update, on all ranks, end-of-turn tokens included and prompts left out. TRL's
SFTTrainer divides by the same number (`num_items_in_batch`, completion_only_loss).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from online_rl.algorithms.base import Algorithm, LearnBatch, Rewards, TokenBatch
from online_rl.metric_types import Mean, Metrics, Sum
from online_rl.rollout.types import Completion, Rollouts

if TYPE_CHECKING:
    from torch import Tensor

TOKENS = "num_tokens"


class Likelihood(Algorithm):
    """Every completion is to become more likely, whatever its reward."""

    def teaches(self, rewards: Rewards) -> bool:
        return True

    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Rewards]) -> LearnBatch:
        return batch_of([completion for group in rollouts.groups for completion in group])

    def loss(self, tokens: TokenBatch, baseline: float = 0.0) -> tuple[Tensor, Metrics]:
        return -(tokens.logp * tokens.live).sum(), {}

    def denominator(self, mask: Tensor, weights: Tensor) -> float:
        return float((mask.sum(-1) * weights).sum())


def batch_of(completions: Sequence[Completion], filler: Completion | None = None) -> LearnBatch:
    """A batch that weighs every token alike.

    filler  as in `LearnBatch`; needed if there is no completion
    """
    lengths = [len(c.ids) for c in completions]
    counts: Metrics = {
        "completions/mean_length": Mean(sum(lengths), len(lengths)),
        "completions/clipped_ratio": Mean(sum(c.truncated for c in completions), len(lengths)),
        TOKENS: Sum(sum(lengths) + sum(len(c.prompt.ids) for c in completions)),
    }
    return LearnBatch([(c,) for c in completions], [1.0] * len(lengths), 1, filler or completions[0], counts)
