"""Learning from advantages: grpo, dr_grpo, dapo, gspo and cispo share all but the ratio, the clip and the average."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from online_rl.algorithms import advantage
from online_rl.algorithms.base import Algorithm, LearnBatch, Rewards, TokenBatch, flat_fraction
from online_rl.algorithms.kl_coefficient import KLCoefficient
from online_rl.metric_types import Mean, Metrics
from online_rl.rollout.types import Completion, Rollouts

if TYPE_CHECKING:
    from torch import Tensor

    from online_rl.config import Config
    from online_rl.config.algorithm import Algorithm as Settings


class GRPO(Algorithm):
    """Every scored candidate of a group with spread, weighted by its advantage."""

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self.name, self.options = cfg.algorithm.name, cfg.algorithm.grpo
        self.limit = cfg.rollout.max_completion_tokens
        self.kl = KLCoefficient(self.options.kl_coef, self.options.kl_target)

    @classmethod
    def needs_ref_model_with(cls, settings: Settings) -> bool:
        return settings.grpo.kl_coef > 0

    @classmethod
    def corrects_late_with(cls, settings: Settings) -> bool:
        return settings.grpo.correction != "none"

    def teaches(self, rewards: Rewards) -> bool:
        return advantage.has_spread(rewards, self.options.min_reward_std)

    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Rewards]) -> LearnBatch:
        units: list[tuple[Completion, ...]] = []
        advantages: list[float] = []
        for group, group_advantages in zip(rollouts.groups, self._advantages(rewards), strict=True):
            for completion, value in zip(group, group_advantages, strict=True):
                if value is not None:
                    units.append((completion,))
                    advantages.append(value)
        return LearnBatch(units, advantages, self.unit_size, rollouts.groups[0][0], flat_fraction(self, rewards))

    def _advantages(self, rewards: Sequence[Rewards]) -> list[list[float | None]]:
        kind, min_std = self.options.advantage, self.options.min_reward_std
        if kind == "rloo":
            return [advantage.rloo_advantage(group, min_std=min_std) for group in rewards]
        if kind == "batch_std":
            from online_rl.ranks import collectives

            scored = [r for part in collectives.gather(rewards) for group in part for r in group if r is not None]
            std = advantage.sample_std(scored)
            return [advantage.batch_std_advantage(group, std, min_std=min_std) for group in rewards]
        by_std = kind == "group"
        return [advantage.group_advantage(group, divide_by_std=by_std, min_std=min_std) for group in rewards]

    def denominator(self, mask: Tensor, weights: Tensor) -> float:
        return float((mask.sum(-1) * weights).sum()) if self.options.loss_type == "dapo" else float(weights.sum())

    def loss(self, tokens: TokenBatch, baseline: float = 0.0) -> tuple[Tensor, Metrics]:
        import torch

        from online_rl.algorithms.grpo import clip_fractions, reduce_tokens
        from online_rl.algorithms.gspo import sequence_ratio
        from online_rl.algorithms.kl import kl_term
        from online_rl.algorithms.mismatch import correction_weights

        o, logp, old_logp, mask = self.options, tokens.logp, tokens.old_logp, tokens.mask
        column = tokens.advantages[:, None]  # (B, 1)
        by_sequence = self.name == "gspo"
        ratio = sequence_ratio(logp, old_logp, mask) if by_sequence else torch.exp(logp - old_logp)
        per_token = self.policy_loss(logp, ratio, column, mask)
        metrics: Metrics = {}
        live = tokens.live  # (B, T)
        count = float(live.sum())
        if o.correction != "none":
            weights, outside = correction_weights(
                old_logp, tokens.sampled, mask, o.correction, o.correction_min, o.correction_max
            )
            per_token = per_token * weights  # (B, T), or (B, 1) if both are of whole completions
            kind = "sampling/masked_fraction" if o.correction.endswith("mask") else "sampling/truncated_fraction"
            metrics[kind] = Mean(float((outside * live).sum()), count)
        if self.kl.value:
            per_token = per_token + self.kl.value * kl_term(logp, old_logp, tokens.ref, o.kl_estimator)
        per_unit = reduce_tokens(per_token, mask, o.loss_type, self.limit)  # (B,)
        with torch.no_grad():
            low, high = clip_fractions(ratio, tokens.advantages, live, o.clip_low, o.clip_high)
        metrics |= {
            "clip_ratio/low_mean": Mean(float(low), count),
            "clip_ratio/high_mean": Mean(float(high), count),
            "clip_ratio/region_mean": Mean(float(low + high), count),
        }
        return (per_unit * tokens.weights).sum(), metrics

    def policy_loss(self, logp: Tensor, ratio: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
        """The policy's part of the loss, before correction, KL term and average: what a variant of GRPO changes.

        logp, mask  (B, T); advantages (B, 1)
        ratio       (B, T) pi / pi_old per token, or (B, 1) of whole completions
        returns     (B, T), or (B, 1) for one value per completion
        """
        from online_rl.algorithms.cispo import cispo_loss
        from online_rl.algorithms.grpo import clipped_policy_loss

        o = self.options
        if self.name == "cispo":
            return cispo_loss(logp, ratio, advantages, o.clip_low, o.clip_high)
        return clipped_policy_loss(ratio, advantages, o.clip_low, o.clip_high, o.dual_clip)

    def after_update(self, metrics: dict[str, float]) -> dict[str, float]:
        if not self.needs_ref_model:
            return {}
        used = self.kl.value
        if "kl" in metrics:
            self.kl.update(metrics["kl"])
        return {"kl_coef": used}

    def state_dict(self) -> dict[str, float]:
        return {"kl_coef": self.kl.value}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.kl.value = state["kl_coef"]
