"""Learning from pairs made in the same step: online DPO, IPO, hinge, SimPO, ORPO and R-DPO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from online_rl.algorithms.base import Algorithm, LearnBatch, Rewards, TokenBatch, flat_fraction
from online_rl.algorithms.pairs import Pair, make_pairs
from online_rl.metric_types import Mean, Metrics
from online_rl.rollout.types import Completion, Rollouts

if TYPE_CHECKING:
    from torch import Tensor

    from online_rl.config import Config
    from online_rl.config.algorithm import Algorithm as Settings


class OnlinePreference(Algorithm):
    """Candidates of a group against each other, the better one chosen."""

    unit_size = 2
    without_ref_model: ClassVar[tuple[str, ...]] = ("online_simpo", "online_orpo")

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self.name, self.options = cfg.algorithm.name, cfg.algorithm.preference

    @classmethod
    def needs_ref_model_with(cls, settings: Settings) -> bool:
        return settings.name not in cls.without_ref_model

    def pairs(self, rewards: Rewards) -> list[Pair]:
        return make_pairs(rewards, self.options.pairing, self.options.tie_threshold)

    def teaches(self, rewards: Rewards) -> bool:
        return bool(self.pairs(rewards))

    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Rewards]) -> LearnBatch:
        units: list[tuple[Completion, ...]] = [
            (group[chosen], group[rejected])
            for group, group_rewards in zip(rollouts.groups, rewards, strict=True)
            for chosen, rejected in self.pairs(group_rewards)
        ]
        counts = flat_fraction(self, rewards) | {"dpo/pairs_per_group": Mean(len(units), len(rewards))}
        return LearnBatch(units, [1.0] * len(units), self.unit_size, rollouts.groups[0][0], counts)

    def loss(self, tokens: TokenBatch, baseline: float = 0.0) -> tuple[Tensor, Metrics]:
        import torch

        from online_rl.algorithms import preference

        o, mask = self.options, tokens.mask
        logp, lengths = (tokens.logp * mask).sum(-1), mask.sum(-1)  # (2P,), (2P,)
        ref = (tokens.ref * mask).sum(-1) if self.needs_ref_model else torch.zeros_like(logp)  # (2P,)
        per_pair = self._per_pair(logp, ref, lengths)  # (P,)
        if o.sft_coef:
            per_pair = per_pair + o.sft_coef * preference.sft_loss(logp, lengths)
        return (per_pair * tokens.weights).sum(), self._metrics(logp.detach(), ref, lengths, tokens.weights)

    def _per_pair(self, logp: Tensor, ref: Tensor, lengths: Tensor) -> Tensor:
        from online_rl.algorithms import preference

        o = self.options
        match self.name:
            case "online_dpo":
                return preference.dpo_loss(logp, ref, o.beta, o.label_smoothing)
            case "online_r_dpo":
                return preference.r_dpo_loss(logp, ref, lengths, o.beta, o.length_alpha, o.label_smoothing)
            case "online_hinge":
                return preference.hinge_loss(logp, ref, o.beta)
            case "online_ipo":
                return preference.ipo_loss(logp, ref, lengths, o.beta)
            case "online_simpo":
                return preference.simpo_loss(logp, lengths, o.beta, o.simpo_gamma, o.label_smoothing)
            case "online_orpo":
                return preference.orpo_loss(logp, lengths, o.beta)
        raise ValueError(f"algorithm.name={self.name!r} has no loss of pairs")

    def _metrics(self, logp: Tensor, ref: Tensor, lengths: Tensor, weights: Tensor) -> Metrics:
        """Implicit rewards: beta (logp - ref), or beta times the mean logp per token if there is no ref_model."""
        from online_rl.algorithms.preference import margin_of

        scale = 1.0 if self.needs_ref_model else lengths.clamp(min=1.0)
        implicit = self.options.beta * (logp - ref) / scale  # (2P,)
        margins, pairs = margin_of(implicit), float(weights.sum())
        values = {
            "rewards/chosen": implicit[0::2],
            "rewards/rejected": implicit[1::2],
            "rewards/margins": margins,
            "rewards/accuracies": (margins > 0).to(margins.dtype),
            "logps/chosen": logp[0::2],
            "logps/rejected": logp[1::2],
        }
        return {name: Mean(float((value * weights).sum()), pairs) for name, value in values.items()}
