"""Which completions share a row and which rows share a pass: within a budget of tokens, equally many on every rank.

A unit is what must stay in one pass: a completion, or a pair. Each completion has a row and a copy of the prompt to
itself; or, if prompts are shared, one row holds the prompt followed by as many of its units as fit.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from online_rl.algorithms import LearnBatch
from online_rl.policy.passes.collate import MicroBatch, collate, rounded_up
from online_rl.policy.passes.vision_cut import Features
from online_rl.ranks import collectives
from online_rl.rollout.types import Completion


@dataclass(frozen=True)
class PassSettings:
    """How passes are laid out.

    budget         tokens of one pass, with padding
    pad_id         token that rows are padded with
    logits_chunk   tokens whose logits exist at a time; 0 for all of a pass
    share_prompts  whether a row holds a prompt once, followed by several completions
    multiple       that the length of a pass is rounded up to: few lengths, where a kernel is planned for each
    """

    budget: int
    pad_id: int
    logits_chunk: int = 0
    share_prompts: bool = False
    multiple: int = 1


def micro_batches(
    batch: LearnBatch, which: slice, settings: PassSettings, features: Mapping[str, Features]
) -> list[MicroBatch]:
    """Lay out the passes of one optimiser step over `batch.units[which]`, as many as the busiest rank needs.

    A rank that needs fewer passes still runs the same number, with its rows spread evenly. If it has fewer rows than
    passes, it runs `batch.filler` with weight 0 in the others: ZeRO-3's collectives need every rank in every pass.

    features  of the prompts whose images have been encoded, by `Prompt.key`
    """
    units, advantages, budget = batch.units[which], batch.advantages[which], settings.budget
    share_prompts, layout = settings.share_prompts, (settings.pad_id, features, settings.multiple)
    blocks = together(units, budget) if share_prompts else [[u] for u in range(len(units))]
    rows = [_rows([c for u in block for c in units[u]], share_prompts) for block in blocks]
    height = 1 if share_prompts else batch.unit_size
    lengths = [rounded_up(max(map(row_length, block)), settings.multiple) for block in rows]
    number = int(collectives.reduce_numbers([len(passes(lengths, height, budget))], "max")[0])
    made = []
    for blocks_of_pass in even_passes(lengths, height, budget, number):
        its_rows = [row for b in blocks_of_pass for row in rows[b]]
        its_advantages = [advantages[u] for b in blocks_of_pass for u in blocks[b]]
        made.append(
            collate(its_rows, [1.0] * len(its_advantages), its_advantages, settings.pad_id, features, settings.multiple)
        )
    while len(made) < number:
        filling = _rows([batch.filler] * batch.unit_size, share_prompts)
        made.append(collate(filling, [0.0], [0.0], *layout))
    if settings.logits_chunk:
        _slice_logits(made, settings.logits_chunk)
    return made


def _slice_logits(made: Sequence[MicroBatch], chunk: int) -> None:
    """Set in how many slices of at most `chunk` tokens each pass computes its logits: as many as the busiest rank."""
    needed = [float(-(-len(mb.predictors) // chunk)) for mb in made]
    for mb, most in zip(made, collectives.reduce_numbers(needed, "max"), strict=True):
        mb.slices = max(1, int(most))


def together(units: Sequence[Sequence[Completion]], budget: int) -> list[list[int]]:
    """Indices of the units of each shared row: of one group, in order, within `budget` tokens but at least one."""
    rows: list[list[int]] = []
    newest: dict[tuple[str, int], list[int]] = {}  # a group's prompt -> its row that may have room
    for u, unit in enumerate(units):
        group = (unit[0].prompt.key, unit[0].group)
        row = newest.get(group)
        if row is None or row_length([c for member in (*row, u) for c in units[member]]) > budget:
            row = newest[group] = []
            rows.append(row)
        row.append(u)
    return rows


def row_length(completions: Sequence[Completion]) -> int:
    """Tokens of one row: the prompt, and each completion once."""
    return len(completions[0].prompt.ids) + sum(len(c.ids) for c in {c.key: c for c in completions}.values())


def passes(lengths: Sequence[int], height: int, budget: int) -> list[list[int]]:
    """Indices of the blocks of each pass, longest first. A pass takes blocks x height x its longest length tokens.

    No more than `budget`, but at least one block. Longest first, so that memory peaks in the first pass and ranks run
    passes of similar size at the same time.
    """
    order = sorted(range(len(lengths)), key=lambda block: -lengths[block])
    result = []
    while order:
        size = max(1, budget // (height * lengths[order[0]]))
        result.append(order[:size])
        order = order[size:]
    return result


def even_passes(lengths: Sequence[int], height: int, budget: int, number: int) -> list[list[int]]:
    """At most `number` passes, the largest as small as possible; `number` is enough for `passes` within `budget`."""
    enough = bisect_left(range(1, budget), True, key=lambda tokens: len(passes(lengths, height, tokens)) <= number)
    return passes(lengths, height, 1 + enough)


def _rows(completions: list[Completion], share_prompts: bool) -> list[list[Completion]]:
    return [completions] if share_prompts else [[c] for c in completions]
