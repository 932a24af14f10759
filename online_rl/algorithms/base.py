"""The interface of algorithms: choose what to learn from, and turn log-probabilities into a loss that adds up.

torch is imported inside the functions that compute with it, here and in `learn_*`: a configuration asks the classes
what they need on machines that have no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from online_rl.metric_types import Mean, Metrics
from online_rl.rollout.types import Completion, Rollouts

if TYPE_CHECKING:
    from torch import Tensor

    from online_rl.config import Config
    from online_rl.config.algorithm import Algorithm as Settings

Rewards = Sequence[float | None]  # of one group; None is a candidate whose answer could not be read


@dataclass(frozen=True)
class LearnBatch:
    """Everything that one rank learns from in one step.

    units       completions that must stay in one micro-batch: (completion,) or (chosen, rejected)
    advantages  one per unit; in KTO 1 for desirable and -1 for undesirable ones; 1.0 for pairs
    unit_size   completions of a unit
    filler      any completion of this rank, with weight 0 in passes that other ranks need and this one has nothing for
    counts      bookkeeping of this rank, such as groups that taught nothing
    """

    units: list[tuple[Completion, ...]]
    advantages: list[float]
    unit_size: int
    filler: Completion
    counts: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class TokenBatch:
    """One forward pass as a loss sees it: log-probabilities of the sampled tokens, nats, all (B, T).

    B = units * unit_size rows.

    logp        under the policy that is trained, with gradient
    old_logp    under the weights before the step's first update, computed by the trainer: those that sampled, unless
                the run learns behind (scoring.behind)
    ref_logp    under the ref_model; None if the algorithm needs none
    sampled     under the weights that sampled, as vLLM reported them
    mask        1.0 on completion tokens
    advantages  (units,)
    weights     (units,) 0.0 for a unit that only fills up the pass
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
        """`ref_logp`, for algorithms that need it. Raises ValueError if there is none."""
        if self.ref_logp is None:
            raise ValueError("this loss needs the ref_model's log-probabilities, and there are none")
        return self.ref_logp

    @property
    def live(self) -> Tensor:
        """(B, T) the mask without the rows that only fill up the pass."""
        return self.mask * self.weights.repeat_interleave(len(self.mask) // len(self.weights))[:, None]


class Algorithm(ABC):
    """One way of learning from scores.

    unit_size        completions that must share a forward pass: 1, or 2 for pairs
    needs_ref_model  whether the loss compares with a frozen policy
    needs_baseline   whether the loss compares with a mean over the whole batch, see `baseline_sums`
    corrects_late    whether the loss weighs what an earlier policy sampled, by exp(old_logp - sampled)

    These attributes are the only place that says so: configuration rules and memory estimates ask the class.
    """

    unit_size: ClassVar[int] = 1
    needs_ref_model: bool = False
    needs_baseline: ClassVar[bool] = False
    corrects_late: bool = False

    def __init__(self, cfg: Config) -> None:
        """Settle what depends on this run's settings; a class keeps here what else it reads of the configuration."""
        self.needs_ref_model = self.needs_ref_model_with(cfg.algorithm)
        self.corrects_late = self.corrects_late_with(cfg.algorithm)

    @classmethod
    def needs_ref_model_with(cls, settings: Settings) -> bool:
        """`needs_ref_model` under these settings, for a class in which it depends on them."""
        return cls.needs_ref_model

    @classmethod
    def corrects_late_with(cls, settings: Settings) -> bool:
        """`corrects_late` under these settings, for a class in which it depends on them."""
        return cls.corrects_late

    @abstractmethod
    def teaches(self, rewards: Rewards) -> bool:
        """Whether a group with these rewards carries gradient."""

    @abstractmethod
    def learn_from(self, rollouts: Rollouts, rewards: Sequence[Rewards]) -> LearnBatch:
        """Choose what carries gradient. `rewards[g][i]` belongs to `rollouts.groups[g][i]`; None carries none.

        Every rank calls it at the same point of the step. Two groups a and b of three candidates each, with rewards
        [[1.0, 3.0, None], [0.5, 0.5, 0.5]]: the mean of a is 2 and its deviation 1.41, b has no spread. Then

            GRPO    units [(a0,), (a1,)]  advantages [-0.71, 0.71]
            DPO     units [(a1, a0)]      advantages [1.0]          the better one first
            KTO     units [(a1,), (a0,)]  advantages [1.0, -1.0]    desirable, undesirable

        and in each, filler a0 and counts {"frac_reward_zero_std": Mean(1, 2)}, besides the algorithm's own.
        """

    @abstractmethod
    def loss(self, tokens: TokenBatch, baseline: float = 0.0) -> tuple[Tensor, Metrics]:
        """Sum of the units' losses, and metrics. The caller divides the sum by `denominator` summed over the
        micro-batches and ranks of the optimiser step, so that neither changes the gradient.

        baseline  global mean of `baseline_sums` over those micro-batches, if `needs_baseline`
        """

    def denominator(self, mask: Tensor, weights: Tensor) -> float:
        """This pass's share of the number that losses are divided by: its units, unless a class counts tokens."""
        return float(weights.sum())

    def baseline_sums(self, tokens: TokenBatch) -> tuple[float, float]:
        """(sum, count) of a number that the loss needs over the whole batch. `tokens.logp` is `old_logp` here."""
        return 0.0, 0.0

    def after_update(self, metrics: dict[str, float]) -> dict[str, float]:
        """Adapt to a step's global metrics, which are the same on every rank, and return further metrics."""
        return {}

    def state_dict(self) -> dict[str, float]:
        """Values that have been adapted: few, and the same on every rank."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore what `state_dict` returned."""
        assert not state


def flat_fraction(algorithm: Algorithm, rewards: Sequence[Rewards]) -> Metrics:
    """Groups of this rank that teach nothing, as a metric."""
    return {"frac_reward_zero_std": Mean(sum(not algorithm.teaches(group) for group in rewards), len(rewards))}
