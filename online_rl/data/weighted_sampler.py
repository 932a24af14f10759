"""The order of studies that do not all come equally often: rare findings more, studies that taught nothing less.

An epoch holds a study as often as its weight says: 2.3 is two or three times, 0.25 is one epoch in four. What an epoch
rounds up or down is drawn by systematic sampling, so over a few epochs the counts are the weights. The copies of a
study are spread evenly over the epoch, because a study that comes twice in one step is sampled with the same seeds.

After a group without spread of reward, a study enters the next epoch with `flat_weight`; every epoch doubles it, up to
the full weight. A group with spread restores it at once. No study stays away: .25 is .5 and then 1 again.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from online_rl.data.sampler import StudySampler
from online_rl.data.strata import Drawn, Strata, in_words, read_strata, times_per_epoch
from online_rl.data.study import Study

if TYPE_CHECKING:
    from online_rl.config.model import Config

RECOVERED = 64  # epochs after which any weight is full again


def make_sampler(cfg: Config, train: Sequence[Study]) -> StudySampler:
    """The sampler that `data.sampling` and `data.flat_weight` ask for; the plain one if they stand at their defaults.

    Raises DataError if strata are asked for and no reference can be read.
    """
    batch_size, seed, flat_weight = cfg.rollout.studies_per_step, cfg.run.seed, cfg.data.flat_weight
    if cfg.data.sampling == "stratified":
        strata = read_strata(train)
        return WeightedSampler(times_per_epoch(strata), batch_size, seed, flat_weight, strata)
    if flat_weight < 1:
        return WeightedSampler([1.0] * len(train), batch_size, seed, flat_weight)
    return StudySampler(len(train), batch_size, seed)


class WeightedSampler(StudySampler):
    """Batches of positions, each as often in an epoch as its weight says.

    times        of each study per epoch, on average, while its groups have spread
    flat_weight  factor in the epoch after a group without spread; 1 = none
    strata       of each study, where they are to be counted

    The order of epoch e depends on the seed, e, and the groups without spread before it. What is learned of groups
    within an epoch counts from the next one on.
    """

    def __init__(
        self,
        times: Sequence[float],
        batch_size: int,
        seed: int,
        flat_weight: float = 1.0,
        strata: Strata | None = None,
    ) -> None:
        self._times, self._flat_weight, self._strata = times, flat_weight, strata
        self._flat: dict[int, int] = {}  # study -> epoch of its latest group, if that had no spread
        self._drawn = None if strata is None else Drawn(strata)
        super().__init__(len(times), batch_size, seed)
        self.watches_groups = flat_weight < 1

    def next_batch(self, size: int | None = None) -> list[int]:
        batch = super().next_batch(size)
        if self._drawn is not None:
            self._drawn.count(batch)
        return batch

    def note_groups(self, taught: Mapping[int, bool]) -> None:
        for study, anything in taught.items():
            if anything:
                self._flat.pop(study, None)
            else:
                self._flat[study] = self.epoch

    def weight(self, study: int, epoch: int) -> float:
        """How often the study comes in an epoch, on average, as far as its groups are known."""
        factor = 1.0
        if study in self._flat:
            waited = min(epoch - self._flat[study] - 1, RECOVERED)
            factor = min(1.0, self._flat_weight * 2.0**waited)
        return self._times[study] * factor

    def metrics(self) -> dict[str, float]:
        return {} if self._drawn is None else self._drawn.metrics()

    def notes(self) -> list[str]:
        return [] if self._strata is None else [in_words(self._strata, self._times)]

    def state_dict(self) -> dict[str, Any]:
        """Position, the epoch's order, and what is known of groups: the order cannot be told from the seed alone."""
        state = {**super().state_dict(), "order": self._order, "flat": sorted(self._flat.items())}
        return state if self._drawn is None else {**state, "drawn": self._drawn.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._order = list(state["order"])
        self._flat = {study: epoch for study, epoch in state["flat"]}
        if self._drawn is not None:
            self._drawn.load_state_dict(state["drawn"])

    def _order_of(self, epoch: int) -> list[int]:
        chance = random.Random(f"{self.seed}/{epoch}/weighted")
        studies = list(range(self.n_studies))
        chance.shuffle(studies)  # neighbours in the file would otherwise be rounded against each other
        placed: list[tuple[float, int]] = []
        rest = chance.random()  # of the weights so far, less the copies that were given for it
        for study in studies:
            weight = self.weight(study, epoch)
            copies = int(weight)
            rest += weight - copies
            if rest >= 1:
                copies, rest = copies + 1, rest - 1
            first = chance.random()
            placed += [((copy + first) / copies, study) for copy in range(copies)]
        return [study for _, study in sorted(placed)]
