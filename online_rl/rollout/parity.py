"""Whether log-probabilities still agree, for synced weights that vLLM keeps in a form that cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from online_rl.errors import PolicyMismatch

FACTOR = 10.0  # that the distance may grow by while the policy learns ...
EXACT, HALF = 0.01, 0.1  # ... and nats per token on top of that, in float32 and in half precision
# The same for a warning, which names no cause.
DOUBT, EXACT_DOUBT, HALF_DOUBT = 3.0, 0.001, 0.01


@dataclass
class Parity:
    """Trainer and engine must stay about as near to each other as they were before the first sync.

    names   weights that cannot be compared bit by bit; if there are none, the distance may be a warning, not an error
    stale   the candidates were sampled by an earlier policy (scoring.behind): the distance grows by what an update
            changes, so that only a large one means something
    before  mean difference of log-probabilities in the run's first step, nats per token: both held the same weights
    """

    names: Sequence[str] = ()
    half_precision: bool = False
    stale: bool = False
    before: float | None = None
    warned: bool = field(default=False, init=False)

    def check(self, step: int, difference: float | None) -> str | None:
        """Return a warning, once, if the step's mean `difference` has grown.

        Raises PolicyMismatch, naming the weights, if it has grown too far and some cannot be compared.
        """
        if difference is None:
            return None
        if self.before is None:
            self.before = difference
        if self.names:
            self._refuse(step, difference)
        doubtful = DOUBT * self.before + (HALF_DOUBT if self.half_precision else EXACT_DOUBT)
        if difference <= doubtful or self.warned or self.stale:
            return None
        self.warned = True
        return (
            f"step {step}: log-probabilities of the trainer and of vLLM differ by {difference:.3g} nats per token; in "
            f"the first step it was {self.before:.3g}. Watch sampling/sampling_logp_difference/mean: if it rises "
            "further, the engine reads the policy in another way than the trainer (precision, attention, a weight)."
        )

    def _refuse(self, step: int, difference: float) -> None:
        assert self.before is not None
        limit = FACTOR * self.before + (HALF if self.half_precision or self.stale else EXACT)
        if difference > limit:
            raise PolicyMismatch(
                f"step {step}: log-probabilities of the trainer and of vLLM differ by {difference:.3g} nats per token; "
                f"before the first weight sync it was {self.before:.3g}, and at most {limit:.3g} was expected. The "
                f"engine did not take one of the {len(self.names)} weights that it keeps in another form: "
                f"{', '.join(self.names[:3])}{' ...' if len(self.names) > 3 else ''}. Serve the policy unquantised "
                "(rollout.engine_args)."
            )
