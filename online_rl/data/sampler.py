"""The order of studies: an endless, seeded walk through shuffled epochs that can stop and continue anywhere."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from online_rl.data.study import Study
from online_rl.errors import CheckpointError, ConfigError


def following(studies: Sequence[Study], place: int) -> Iterator[Study]:
    """The studies behind that place, then those before it: what stands in for one that cannot be shown."""
    return (studies[(place + i) % len(studies)] for i in range(1, len(studies)))


class StudySampler:
    """Batches of positions in the list of training studies.

    The order of epoch e depends on (seed, e) only. Batches run over the border of two epochs, so every study comes
    exactly once per epoch and none is dropped; a batch at the border can hold a study twice, from one epoch each.
    """

    def __init__(self, n_studies: int, batch_size: int, seed: int) -> None:
        if n_studies < batch_size:
            raise ConfigError(
                f"rollout.studies_per_step: found {batch_size}, expected at most {n_studies}, the number of studies to "
                "train on. Lower it, or give more data."
            )
        self.n_studies = n_studies
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0
        self.cursor = 0  # studies of this epoch already given out
        self._order = self._order_of(0)
        self.watches_groups = False  # whether `note_groups` has to be called

    def next_batch(self, size: int | None = None) -> list[int]:
        """The next `size` positions; `batch_size` if it is not given."""
        size = self.batch_size if size is None else size
        batch: list[int] = []
        while len(batch) < size:
            if self.cursor == len(self._order):
                self.epoch += 1
                self.cursor = 0
                self._order = self._order_of(self.epoch)
            taken = self._order[self.cursor : self.cursor + size - len(batch)]
            self.cursor += len(taken)
            batch += taken
        return batch

    def peek(self) -> list[int]:
        """What `next_batch` would give if nothing happened in between, without giving it out."""
        return StudySampler.next_batch(copy.copy(self))  # a subclass may count what it gives out

    def note_groups(self, taught: Mapping[int, bool]) -> None:
        """Take note of studies whose groups were learned from, and whether these taught anything; here it is all one.

        The same on every rank, and complete, or their orders would part.
        """

    def metrics(self) -> dict[str, float]:
        """What a step's metrics say of the studies that were drawn."""
        return {}

    def notes(self) -> list[str]:
        """What a user should know of the order before training, a sentence or two each."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Position of the walk; small enough for any checkpoint."""
        return {"epoch": self.epoch, "cursor": self.cursor, "seed": self.seed, "n_studies": self.n_studies}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken; refused with another seed or another number of studies."""
        for key, ours, remedy in (
            ("n_studies", self.n_studies, "Give the same data, with the same data.* settings, or start a new run."),
            ("seed", self.seed, f"Set run.seed to {state['seed']}, or start a new run."),
        ):
            if state[key] != ours:
                raise CheckpointError(f"sampler: the checkpoint has {key}={state[key]}, this run has {ours}. {remedy}")
        self.epoch, self.cursor = state["epoch"], state["cursor"]
        self._order = self._order_of(self.epoch)

    def _order_of(self, epoch: int) -> list[int]:
        # The standard library's generator: its shuffles are the same in every version and need no second dependency.
        order = list(range(self.n_studies))
        random.Random(f"{self.seed}/{epoch}").shuffle(order)
        return order
