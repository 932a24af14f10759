"""Which completions share a pass: sorted by length, within a budget of tokens, as many passes on every rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from online_rl import distributed
from online_rl.algorithms import LearnBatch
from online_rl.policy.collate import MicroBatch, collate
from online_rl.policy.features import Features
from online_rl.rollout.types import Completion


def micro_batches(
    batch: LearnBatch,
    which: slice,
    filler: Completion,
    budget: int,
    pad_id: int,
    features: Mapping[int, Features],
    logits_chunk: int = 0,
) -> list[MicroBatch]:
    """The passes of one optimiser step over `batch.units[which]`: as many as the busiest rank needs.

    A rank that needs fewer runs the `filler` with weight 0: ZeRO-3's collectives want every rank in every pass.
    `features` are those of the prompts whose images were seen before, by the prompt's id(). With a `logits_chunk` each
    pass says in how many slices of at most so many tokens every rank computes its logits.
    """
    units, advantages = batch.units[which], batch.advantages[which]
    plan = passes([max(map(_length, unit)) for unit in units], batch.unit_size, budget)
    empty = int(distributed.reduce_numbers([len(plan)], "max")[0]) - len(plan)
    laid_out = [([c for u in one for c in units[u]], [1.0] * len(one), [advantages[u] for u in one]) for one in plan]
    laid_out += [([filler] * batch.unit_size, [0.0], [0.0])] * empty
    made = [collate(*one, pad_id, features) for one in laid_out]
    if logits_chunk:
        needed = [float(-(-int(mb.predicts.sum()) // logits_chunk)) for mb in made]
        for mb, most in zip(made, distributed.reduce_numbers(needed, "max"), strict=True):
            mb.slices = int(most)
    return made


def passes(lengths: Sequence[int], unit_size: int, budget: int) -> list[list[int]]:
    """Indices of the units of each pass, longest first. A pass takes units x unit_size x its longest length tokens.

    No more than `budget`, but at least one unit. Longest first, so that memory peaks in the first pass, and ranks run
    passes of like size beside each other.
    """
    order = sorted(range(len(lengths)), key=lambda unit: -lengths[unit])
    result = []
    while order:
        size = max(1, budget // (unit_size * lengths[order[0]]))
        result.append(order[:size])
        order = order[size:]
    return result


def _length(completion: Completion) -> int:
    return len(completion.prompt.ids) + len(completion.ids)
