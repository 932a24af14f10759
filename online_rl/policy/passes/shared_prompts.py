"""A group's prompt read once: its candidates follow it in one row and do not attend to each other.

A study's image and words are the same for all G candidates. In rows of their own they take G (P + C) tokens, P of the
prompt and C of a completion; in a shared row P + G C. A token attends to the same tokens and has the same position as
in a row of its own, so its log-probability and its gradient are the same: the gradient of the prompt's tokens is the
sum over the candidates either way.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from online_rl.algorithms import LearnBatch
from online_rl.policy.passes import branch_attention
from online_rl.policy.passes.collate import MicroBatch, collate
from online_rl.policy.passes.vision_cut import Features
from online_rl.ranks import collectives
from online_rl.rollout.types import Completion

# Nats per token, mean, in float32 and in half precision: a wrong mask or position changes more, rounding less.
EXACT, HALF = 1e-4, 0.1


def can_share(model: nn.Module) -> bool:
    """Whether every layer of the language part has full causal attention, by an implementation that takes a mask."""
    config: Any = model.config
    text = config.get_text_config()
    layers = getattr(text, "layer_types", None)
    plain = set(layers) == {"full_attention"} if layers else not getattr(text, "sliding_window", None)
    return plain and text._attn_implementation in ("sdpa", branch_attention.NAME)


def tree_mask(branch: Tensor) -> Tensor:
    """(R, 1, L, L) True if a position (third axis) attends to another (fourth): itself and what comes before it in
    the prompt and in its own completion. Padding attends to the prompt, so that no row of a softmax is empty.

    branch  (R, L) as `MicroBatch.branches`
    """
    before = torch.ones(branch.shape[1:] * 2, dtype=torch.bool, device=branch.device).tril()
    own = branch[:, :, None] == branch[:, None, :]
    return (before & (own | (branch == 0)[:, None, :]))[:, None]


def positions(model: nn.Module, batch: MicroBatch, inputs: Mapping[str, Tensor]) -> Tensor:
    """(R, L) position of each token, or (3, R, L) for a model with separate positions in time, height and width.

    Such a model computes the positions of a prompt's tokens itself, and the offset at which the text behind it
    continues.
    """
    count = getattr(model, "get_rope_index", None)
    if count is None or "mm_token_type_ids" not in inputs:
        return batch.offsets
    prompt = batch.branches == 0  # (R, L)
    width = int(prompt.sum(1).max())
    known = inspect.signature(count).parameters
    given = {name: value for name, value in inputs.items() if name in known}
    given |= {"input_ids": batch.ids[:, :width], "attention_mask": prompt[:, :width].long()}
    given["mm_token_type_ids"] = inputs["mm_token_type_ids"][:, :width]
    stands, ahead = count(**given)  # (3, R, width), (R, 1)
    all_of = (batch.offsets + ahead).expand(3, -1, -1).clone()
    all_of[:, :, :width] = torch.where(prompt[:, :width], stands, all_of[:, :, :width])
    return all_of


def two_of_one_prompt(filler: Completion, candidates: Iterable[Completion]) -> list[Completion]:
    """`filler` and another candidate of its study; itself with its tokens reversed if there is none."""
    others = (c for c in candidates if c.prompt.key == filler.prompt.key and c.key != filler.key and len(c.ids) > 1)
    return [filler, next(others, replace(filler, ids=filler.ids[::-1], candidate=-1))]


@torch.no_grad()
def gap(
    engine: Any, pair: list[Completion], pad_id: int, features: Mapping[str, Features], device: torch.device
) -> float | None:
    """Mean difference between the log-probabilities of two candidates in a shared row and in rows of their own, nats
    per token, on the rank where it is largest. Every rank must call.

    None if nothing could be compared: the first candidate's layout is the same in both, and the second's first token
    is predicted by the prompt, so that some rank must have a second candidate of two tokens or more.
    """
    engine.eval()
    apart, shared = (
        engine(collate(rows, [1.0, 1.0], [0.0, 0.0], pad_id, features).to(device))[0]
        for rows in ([[c] for c in pair], [pair])
    )
    engine.train()
    mine = float((apart - shared).abs().sum()) / max(1, sum(len(c.ids) for c in pair))
    largest, seen = collectives.reduce_numbers([mine, float(len(pair[1].ids))], "max")
    return largest if seen > 1 else None


def agrees(found: float, model: nn.Module) -> bool:
    """Whether a `gap` is no more than rounding."""
    return found <= (EXACT if next(model.parameters()).dtype == torch.float32 else HALF)


class PromptSharing:
    """Whether the candidates of a group share a row: as wanted, unless the first comparison that sees something says
    that this architecture computes something else in a shared row."""

    def __init__(self, wanted: bool) -> None:
        self.on, self._proven = wanted, False

    def prove(
        self, engine: Any, batch: LearnBatch, pad_id: int, features: Mapping[str, Features], device: torch.device
    ) -> str | None:
        """Compare two candidates of the batch, once, and return a warning if that switches sharing off. Every rank must
        call."""
        if not self.on or self._proven:
            return None
        pair = two_of_one_prompt(batch.filler, (c for unit in batch.units for c in unit))
        found = gap(engine, pair, pad_id, features, device)
        self._proven = found is not None
        if found is None or agrees(found, engine.module):
            return None
        self.on = False
        return (
            f"debug.share_prompts: log-probabilities differ by {found:.3g} nats per token between a row of its own "
            "and a shared one, so this architecture ignores the mask there; each candidate gets a row of "
            "its own. Set it to false to be spared the test."
        )
