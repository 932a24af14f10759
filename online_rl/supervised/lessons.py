"""Lessons: the studies of each update in the order of online training, and what has been read of them so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from online_rl.data.sampler import StudySampler, following
from online_rl.data.study import Study
from online_rl.ranks import collectives
from online_rl.rollout.targets import TargetBuilder
from online_rl.rollout.types import Completion


@dataclass
class Lessons:
    """Draws studies and makes their targets.

    studies     training studies, the same list on every rank
    num_tokens  prompt and report tokens of all steps that ended
    """

    studies: Sequence[Study]
    sampler: StudySampler
    targets: TargetBuilder
    num_tokens: int = 0
    _step_start: dict[str, int] | None = field(default=None, init=False)  # the data's position while a step is open

    def next(self) -> list[Completion]:
        """This rank's share of the next update. Errors of one rank are raised on all: DataError (image or prompt)."""
        self._step_start = self.sampler.state_dict()
        mine = collectives.run_of(self.sampler.next_batch())
        with collectives.together():
            spare = following(self.studies, mine[-1]) if mine else ()
            made = self.targets.build_all([self.studies[i] for i in mine], spare)
        return made

    def end_step(self, tokens: float) -> dict[str, float]:
        """Move on in the data by a step of so many tokens, over all ranks. Returns `num_tokens` and `epoch`."""
        self._step_start = None
        self.num_tokens += int(tokens)
        done = self.sampler.epoch + self.sampler.cursor / self.sampler.n_studies
        return {"num_tokens": float(self.num_tokens), "epoch": done}

    @property
    def step_is_open(self) -> bool:
        return self._step_start is not None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps. While a step is open, the data's position is that of the step's start."""
        return {"sampler": self._step_start or self.sampler.state_dict(), "num_tokens": self.num_tokens}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises CheckpointError if the data or the seed is another."""
        self.sampler.load_state_dict(state["sampler"])
        self.num_tokens = state["num_tokens"]
