"""The best and the worst report of a step over all ranks, with what a reader needs beside them."""

from __future__ import annotations

from collections.abc import Sequence

from online_rl.ranks import collectives
from online_rl.samples import Sample, make_sample
from online_rl.scoring.scorer import Candidate

IMAGE_SIDE = 600  # pixels of the longer side, of what travels between ranks


def best_and_worst(groups: Sequence[Sequence[Candidate]]) -> dict[str, Sample]:
    """`{"best": sample, "worst": sample}` on every rank, for every rank to call; {} where no candidate has a reward.

    groups  this rank's. Of equal rewards the first counts. Two texts and images travel, however many ranks there are.
    """
    mine = [(c.reward, c) for group in groups for c in group if c.reward is not None]
    found: dict[str, Sample] = {}
    for name, sign in (("best", 1.0), ("worst", -1.0)):
        top = max(mine, key=lambda pair: sign * pair[0], default=None)
        rewards = collectives.gather(None if top is None else top[0])
        ranked = [(sign * reward, -rank) for rank, reward in enumerate(rewards) if reward is not None]
        if not ranked:
            return {}
        owner = -max(ranked)[1]
        sample = _sample(top[1]) if top and collectives.rank() == owner else {}
        found[name] = collectives.gather(sample)[owner]
    return found


def _sample(candidate: Candidate) -> Sample:
    images = candidate.completion.prompt.images
    image = images[0].copy() if images else None
    if image is not None:
        image.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
    return make_sample(candidate, image)
