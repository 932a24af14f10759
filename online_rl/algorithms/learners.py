"""From scored rollouts to a batch to learn from: which completions, with which advantage or partner, and their loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from online_rl.algorithms import dpo, grpo
from online_rl.algorithms.advantage import group_advantage
from online_rl.config import Config
from online_rl.rollout.types import Completion, Rollouts

Sums = dict[str, tuple[float, float]]  # metric -> (sum, count), added up over micro-batches and ranks


@dataclass(frozen=True)
class LearnBatch:
    """What one rank learns from in one step.

    units       completions that must stay in one micro-batch: (completion,) in GRPO, (chosen, rejected) in online DPO
    advantages  one per unit; 1.0 where the algorithm has none
    counts      bookkeeping of this rank, such as groups that taught nothing
    """

    units: list[tuple[Completion, ...]]
    advantages: list[float]
    unit_size: int
    counts: Sums = field(default_factory=dict)


class Algorithm(Protocol):
    """One way of learning from scores."""

    unit_size: int
    needs_ref_model: bool

    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Sequence[float | None]]) -> LearnBatch:
        """Choose what carries gradient. `rewards[g][i]` belongs to `rollouts.groups[g][i]`; None carries none."""

    def loss(
        self, logp: Tensor, old_logp: Tensor, ref_logp: Tensor | None, advantages: Tensor, weights: Tensor, mask: Tensor
    ) -> tuple[Tensor, Sums]:
        """Sum of the units' losses (the caller divides by the global number of units), and metrics.

        logp, old_logp, ref_logp, mask  (B, T); B = units * unit_size
        advantages, weights             (units,); weight 0 marks a unit that only fills up a micro-batch
        """


class GRPO:
    """Group relative policy optimisation: every scored candidate of a group with spread, weighted by its advantage."""

    unit_size = 1

    def __init__(self, cfg: Config) -> None:
        self.options = cfg.algorithm.grpo
        self.limit = cfg.rollout.max_completion_tokens if self.options.loss_type == "dr_grpo" else None
        self.needs_ref_model = self.options.kl_coef > 0

    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Sequence[float | None]]) -> LearnBatch:
        units: list[tuple[Completion, ...]] = []
        advantages: list[float] = []
        flat = 0
        for group, group_rewards in zip(rollouts.groups, rewards, strict=True):
            group_advantages = group_advantage(
                group_rewards,
                divide_by_std=self.options.advantage == "group",
                min_std=self.options.min_reward_std,
            )
            flat += all(a is None for a in group_advantages)
            for completion, advantage in zip(group, group_advantages, strict=True):
                if advantage is not None:
                    units.append((completion,))
                    advantages.append(advantage)
        return LearnBatch(units, advantages, 1, {"frac_reward_zero_std": (flat, len(rewards))})

    def loss(self, logp, old_logp, ref_logp, advantages, weights, mask):
        o = self.options
        per_unit = grpo.grpo_loss(
            logp,
            old_logp,
            advantages,
            mask,
            clip_low=o.clip_low,
            clip_high=o.clip_high,
            ref_logp=ref_logp,
            kl_coef=o.kl_coef,
            limit=self.limit,
        )
        with torch.no_grad():
            live = mask * weights[:, None]  # (B, T)
            low, high = grpo.clip_fractions(torch.exp(logp - old_logp), advantages, live, o.clip_low, o.clip_high)
            tokens = float(live.sum())
            sums: Sums = {
                "clip_ratio/low_mean": (float(low), tokens),
                "clip_ratio/high_mean": (float(high), tokens),
                "clip_ratio/region_mean": (float(low + high), tokens),
            }
        return (per_unit * weights).sum(), sums


class OnlineDPO:
    """Online direct preference optimisation: the best candidate of each group against its worst."""

    unit_size = 2
    needs_ref_model = True

    def __init__(self, cfg: Config) -> None:
        self.options = cfg.algorithm.online_dpo

    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Sequence[float | None]]) -> LearnBatch:
        units: list[tuple[Completion, ...]] = []
        for group, group_rewards in zip(rollouts.groups, rewards, strict=True):
            pair = dpo.best_and_worst(group_rewards, self.options.tie_threshold)
            if pair is not None:
                units.append((group[pair[0]], group[pair[1]]))
        ties = len(rewards) - len(units)
        counts: Sums = {"frac_reward_zero_std": (ties, len(rewards)), "dpo/pairs_per_group": (len(units), len(rewards))}
        return LearnBatch(units, [1.0] * len(units), 2, counts)

    def loss(self, logp, old_logp, ref_logp, advantages, weights, mask):
        beta = self.options.beta
        policy, ref = (logp * mask).sum(-1), (ref_logp * mask).sum(-1)  # (2P,)
        per_pair = dpo.dpo_loss(policy, ref, beta)  # (P,)
        with torch.no_grad():
            margin = dpo.dpo_margin(policy, ref, beta)
            pairs = float(weights.sum())
            sums: Sums = {
                "rewards/margins": (float((margin * weights).sum()), pairs),
                "rewards/accuracies": (float(((margin > 0) * weights).sum()), pairs),
            }
        return (per_pair * weights).sum(), sums


def make_algorithm(cfg: Config) -> Algorithm:
    """The algorithm that the configuration names."""
    return OnlineDPO(cfg) if cfg.algorithm.name == "online_dpo" else GRPO(cfg)
