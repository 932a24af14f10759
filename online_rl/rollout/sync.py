"""Weight sync: the trainer's live weights into vLLM, and the proof that they arrived."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from online_rl.ranks import collectives
from online_rl.rollout.engine import RolloutEngine
from online_rl.rollout.parity import Parity

if TYPE_CHECKING:
    from torch import Tensor

    from online_rl.policy.engine import Policy


def weights_to_send(policy: Policy, engine: RolloutEngine) -> Iterator[tuple[str, Tensor]]:
    """(name on disk, whole tensor) of what a sync sends: all weights to an engine that drops them when it sleeps,
    otherwise those that training changes."""
    return policy.all_weights() if engine.can_sleep else policy.trained_weights()


@dataclass
class WeightSync:
    """Keeps the engine at the policy's version. In the loop:

        metrics = policy.update(batch, ...)   # version 3 -> 4; the engine still samples from 3
        weights.sync(step.number, metrics)    # the engine holds 4 and has forgotten what 3 computed

    parity  watches log-probabilities instead of weights that vLLM keeps in a form that cannot be compared
    """

    engine: RolloutEngine
    policy: Policy
    parity: Parity = field(default_factory=Parity)

    def sync(self, step: int = 0, metrics: Mapping[str, float] | None = None) -> None:
        """Load the weights into the engine; does nothing if it holds this version already and is awake.

        metrics  the update's, with the difference of log-probabilities that it measured before this sync

        Raises PolicyMismatch, on all ranks, if the engine lacks a weight that it was sent or has drifted apart.
        """
        warning = self.parity.check(step, (metrics or {}).get("sampling/sampling_logp_difference/mean"))
        if warning:
            self.policy.warn(warning)
        if self.engine.version == self.policy.version and not self.engine.asleep:
            return
        self.engine.wake("weights")
        weights = weights_to_send(self.policy, self.engine)
        with collectives.together():
            try:
                self.engine.load_weights(weights, self.policy.version)
            finally:
                for _ in weights:  # gathered over all ranks: one whose engine refused a weight must go through the rest
                    pass
        if self.engine.must_verify:
            # The weights are gathered over ranks while they are compared: every rank goes through all of them.
            with collectives.together():
                self.engine.verify(weights_to_send(self.policy, self.engine))
        self.engine.wake("kv_cache")

    def state_dict(self) -> dict[str, Any]:
        return {"parity": self.parity.before}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.parity.before = state.get("parity")
