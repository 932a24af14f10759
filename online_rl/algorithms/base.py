"""What every algorithm does: choose what to learn from, and turn log-probabilities into a loss that adds up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from online_rl.rollout.types import Completion, Rollouts

Sums = dict[str, tuple[float, float]]  # metric -> (sum, count), added up over micro-batches and ranks


@dataclass(frozen=True)
class LearnBatch:
    """What one rank learns from in one step.

    units       completions that must stay in one micro-batch: (completion,) or (chosen, rejected)
    advantages  one per unit; in KTO 1 for desirable and -1 for undesirable ones; 1.0 for pairs
    counts      bookkeeping of this rank, such as groups that taught nothing
    """

    units: list[tuple[Completion, ...]]
    advantages: list[float]
    unit_size: int
    counts: Sums = field(default_factory=dict)


@dataclass(frozen=True)
class TokenBatch:
    """One forward pass as a loss sees it: log-probabilities of the sampled tokens, nats, all (B, T).

    B = units * unit_size rows.

    logp        under the policy that is trained, with gradient
    old_logp    under the same weights that sampled, computed by the trainer before the step's first update
    ref_logp    under the ref_model; None where the algorithm needs none
    sampled     under the same weights that sampled, as vLLM reported them
    mask        1.0 on completion tokens
    advantages  (units,)
    weights     (units,) 0.0 for a unit that only fills the pass up
    """

    logp: Tensor
    old_logp: Tensor
    ref_logp: Tensor | None
    sampled: Tensor
    mask: Tensor
    advantages: Tensor
    weights: Tensor

    @property
    def ref(self) -> Tensor:
        """`ref_logp`, for algorithms that need it. Raises ValueError where there is none."""
        if self.ref_logp is None:
            raise ValueError("this loss needs the ref_model's log-probabilities, and there are none")
        return self.ref_logp

    @property
    def live(self) -> Tensor:
        """(B, T) the mask without the rows that only fill the pass up."""
        return self.mask * self.weights.repeat_interleave(len(self.mask) // len(self.weights))[:, None]


class Algorithm(ABC):
    """One way of learning from scores."""

    unit_size = 1
    needs_ref_model = False
    needs_baseline = False

    @abstractmethod
    def teaches(self, rewards: Sequence[float | None]) -> bool:
        """Whether a group with these rewards carries gradient."""

    @abstractmethod
    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Sequence[float | None]]) -> LearnBatch:
        """Choose what carries gradient. `rewards[g][i]` belongs to `rollouts.groups[g][i]`; None carries none.

        Every rank calls it at the same point of the step.
        """

    @abstractmethod
    def loss(self, tokens: TokenBatch, baseline: float = 0.0) -> tuple[Tensor, Sums]:
        """Sum of the units' losses, and metrics. The caller divides the sum by `denominator` summed over the
        micro-batches and ranks of the optimiser step, so that neither changes the gradient.

        baseline  global mean of `baseline_sums` over those micro-batches, where `needs_baseline`
        """

    def denominator(self, mask: Tensor, weights: Tensor) -> float:
        """What this pass adds to the number that losses are divided by: its units, unless tokens are counted."""
        return float(weights.sum())

    def baseline_sums(self, tokens: TokenBatch) -> tuple[float, float]:
        """(sum, count) of a number that the loss needs over the whole batch; `tokens.logp` is `old_logp` there."""
        return 0.0, 0.0

    def after_update(self, metrics: dict[str, float]) -> dict[str, float]:
        """Adapt to a step's global metrics, the same on every rank; returns further metrics."""
        return {}

    def state_dict(self) -> dict[str, float]:
        """What has been adapted; small, the same on every rank."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take back what `state_dict` gave."""
        assert not state


def flat_fraction(algorithm: Algorithm, rewards: Sequence[Sequence[float | None]]) -> Sums:
    """Groups of this rank that teach nothing, as a metric."""
    return {"frac_reward_zero_std": (sum(not algorithm.teaches(group) for group in rewards), len(rewards))}
