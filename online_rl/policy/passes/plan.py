"""Which completions share a row and which rows a pass: within a budget of tokens, as many passes on every rank.

A unit is what must stay in one pass: a completion, or a pair. It is a row per completion, each behind its own copy of
the prompt; or, where prompts are shared, one row holds the prompt and behind it as many of its units as fit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from online_rl.algorithms import LearnBatch
from online_rl.policy.passes.collate import MicroBatch, collate
from online_rl.policy.passes.vision_cut import Features
from online_rl.ranks import collectives
from online_rl.rollout.types import Completion


def micro_batches(
    batch: LearnBatch,
    which: slice,
    filler: Completion,
    budget: int,
    pad_id: int,
    features: Mapping[int, Features],
    logits_chunk: int = 0,
    share_prompts: bool = False,
) -> list[MicroBatch]:
    """The passes of one optimiser step over `batch.units[which]`: as many as the busiest rank needs, on every rank.

    A rank that could do with fewer spreads its rows over all of them: smaller passes, and like ones beside each other.
    One that has fewer rows runs the `filler` with weight 0: ZeRO-3's collectives want every rank in every pass.
    `features` are those of the prompts whose images were seen before, by the prompt's id(). With a `logits_chunk` each
    pass says in how many slices of at most so many tokens every rank computes its logits.
    """
    units, advantages = batch.units[which], batch.advantages[which]
    blocks = together(units, budget) if share_prompts else [[u] for u in range(len(units))]
    rows = [_rows([c for u in block for c in units[u]], share_prompts) for block in blocks]
    height = 1 if share_prompts else batch.unit_size
    lengths = [max(map(row_length, block)) for block in rows]
    number = int(collectives.reduce_numbers([len(passes(lengths, height, budget))], "max")[0])
    plan = even_passes(lengths, height, budget, number)
    empty = number - len(plan)
    laid_out = [([row for b in one for row in rows[b]], [u for b in one for u in blocks[b]]) for one in plan]
    made = [collate(of, [1.0] * len(mine), [advantages[u] for u in mine], pad_id, features) for of, mine in laid_out]
    filling = _rows([filler] * batch.unit_size, share_prompts)
    made += [collate(filling, [0.0], [0.0], pad_id, features) for _ in range(empty)]
    if logits_chunk:
        needed = [float(-(-len(mb.predictors) // logits_chunk)) for mb in made]
        for mb, most in zip(made, collectives.reduce_numbers(needed, "max"), strict=True):
            mb.slices = max(1, int(most))
    return made


def together(units: Sequence[Sequence[Completion]], budget: int) -> list[list[int]]:
    """Indices of the units of each shared row: of one prompt, in order, within `budget` tokens but at least one."""
    rows: list[list[int]] = []
    newest: dict[int, list[int]] = {}  # a prompt's id() -> its row that may have room
    for u, unit in enumerate(units):
        row = newest.get(id(unit[0].prompt))
        if row is None or row_length([c for member in (*row, u) for c in units[member]]) > budget:
            row = newest[id(unit[0].prompt)] = []
            rows.append(row)
        row.append(u)
    return rows


def row_length(completions: Sequence[Completion]) -> int:
    """Tokens of one row: the prompt, and each completion once."""
    return len(completions[0].prompt.ids) + sum(len(c.ids) for c in {id(c): c for c in completions}.values())


def passes(lengths: Sequence[int], height: int, budget: int) -> list[list[int]]:
    """Indices of the blocks of each pass, longest first. A pass takes blocks x height x its longest length tokens.

    No more than `budget`, but at least one block. Longest first, so that memory peaks in the first pass, and ranks run
    passes of like size beside each other.
    """
    order = sorted(range(len(lengths)), key=lambda block: -lengths[block])
    result = []
    while order:
        size = max(1, budget // (height * lengths[order[0]]))
        result.append(order[:size])
        order = order[size:]
    return result


def even_passes(lengths: Sequence[int], height: int, budget: int, number: int) -> list[list[int]]:
    """`passes` whose largest is as small as it can be with `number` of them, which are no fewer than `budget` needs."""
    enough = bisect_left(range(1, budget), True, key=lambda tokens: len(passes(lengths, height, tokens)) <= number)
    return passes(lengths, height, 1 + enough)


def _rows(completions: list[Completion], share_prompts: bool) -> list[list[Completion]]:
    return [completions] if share_prompts else [[c] for c in completions]
