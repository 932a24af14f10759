"""Learning from desirable and undesirable candidates: online KTO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from online_rl.algorithms.base import Algorithm, LearnBatch, Rewards, TokenBatch, flat_fraction
from online_rl.algorithms.pairs import best_and_worst, desirable_by_threshold
from online_rl.metric_types import Mean, Metrics
from online_rl.rollout.types import Completion, Rollouts

if TYPE_CHECKING:
    from torch import Tensor

    from online_rl.config import Config


class OnlineKTO(Algorithm):
    """The best and the worst of each group, or every candidate of it by a threshold on its reward."""

    needs_ref_model = True
    needs_baseline = True

    def __init__(self, cfg: Config) -> None:
        super().__init__(cfg)
        self.options = cfg.algorithm.preference

    def labels(self, rewards: Rewards) -> list[tuple[int, bool]]:
        """(position in the group, desirable). Empty if all tie, even with a threshold: a judge that cannot tell the
        candidates apart would push all of them the same way."""
        pair = best_and_worst(rewards, self.options.tie_threshold)
        if pair is None:
            return []
        if self.options.kto_threshold is not None:
            return desirable_by_threshold(rewards, self.options.kto_threshold)
        return [(pair[0], True), (pair[1], False)]

    def teaches(self, rewards: Rewards) -> bool:
        return bool(self.labels(rewards))

    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Rewards]) -> LearnBatch:
        units: list[tuple[Completion, ...]] = []
        labels: list[float] = []
        for group, group_rewards in zip(rollouts.groups, rewards, strict=True):
            for i, good in self.labels(group_rewards):
                units.append((group[i],))
                labels.append(1.0 if good else -1.0)
        desirable = sum(label > 0 for label in labels)
        counts = flat_fraction(self, rewards) | {"kto/desirable": Mean(float(desirable), float(len(labels)))}
        return LearnBatch(units, labels, self.unit_size, rollouts.groups[0][0], counts)

    def baseline_sums(self, tokens: TokenBatch) -> tuple[float, float]:
        log_ratio = ((tokens.old_logp - tokens.ref) * tokens.live).sum()
        return float(log_ratio), float(tokens.weights.sum())

    def loss(self, tokens: TokenBatch, baseline: float = 0.0) -> tuple[Tensor, Metrics]:
        from online_rl.algorithms.kto import kto_baseline, kto_loss

        o, mask, labels = self.options, tokens.mask, tokens.advantages
        logp, ref = (tokens.logp * mask).sum(-1), (tokens.ref * mask).sum(-1)  # (B,)
        z = kto_baseline(baseline)
        per_unit = kto_loss(logp, ref, labels, z, o.beta, o.desirable_weight, o.undesirable_weight)
        rewards = o.beta * (logp - ref).detach()  # (B,) implicit rewards
        margins = labels * (rewards - o.beta * z)
        count = float(tokens.weights.sum())
        metrics: Metrics = {
            "rewards/margins": Mean(float((margins * tokens.weights).sum()), count),
            "rewards/accuracies": Mean(float(((margins > 0) * tokens.weights).sum()), count),
            "kto/z": Mean(z * count, count),
        }
        for name, sign in (("rewards/chosen", 1.0), ("rewards/rejected", -1.0)):
            those = (labels == sign) * tokens.weights
            metrics[name] = Mean(float((rewards * those).sum()), float(those.sum()))
        return (per_unit * tokens.weights).sum(), metrics
