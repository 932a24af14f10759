"""A group's prompt read once: its candidates lie behind it in one row and do not see each other.

A study's image and words are the same for all G candidates. In rows of their own they take G (P + C) tokens, P of the
prompt and C of a completion; in a shared row P + G C. What a token attends to and where it stands are as in a row of
its own, so it has the same log-probability and teaches the same: what the prompt's tokens learn is the sum over the
candidates either way.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from online_rl import distributed
from online_rl.errors import ConfigError
from online_rl.policy.collate import MicroBatch, collate
from online_rl.policy.features import Features
from online_rl.rollout.types import Completion

EXACT, HALF = 1e-3, 0.1  # nats per token, mean, in float32 and in half precision; a wrong mask or position changes more


def can_share(model: nn.Module) -> bool:
    """Whether every layer of the language part attends to all that comes before, by an attention that takes a mask."""
    config: Any = model.config
    text = config.get_text_config()
    layers = getattr(text, "layer_types", None)
    plain = set(layers) == {"full_attention"} if layers else not getattr(text, "sliding_window", None)
    return plain and text._attn_implementation == "sdpa"


def tree_mask(batch: MicroBatch) -> Tensor:
    """(R, 1, L, L) True where a position (third axis) attends to another (fourth): itself and what comes before it in
    the prompt and in its own completion. Padding attends to the prompt, so that no row of a softmax is empty."""
    branch = batch.branches
    before = torch.ones(branch.shape[1:] * 2, dtype=torch.bool, device=branch.device).tril()
    own = branch[:, :, None] == branch[:, None, :]
    return (before & (own | (branch == 0)[:, None, :]))[:, None]


def positions(model: nn.Module, batch: MicroBatch, inputs: Mapping[str, Tensor]) -> Tensor:
    """(R, L) where each token stands, or (3, R, L) for a model that counts time, height and width apart.

    Such a model says itself where a prompt's tokens stand, and how far ahead of their number text goes on behind it.
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


@torch.no_grad()
def prove(engine: Any, filler: Completion, pad_id: int, features: Mapping[int, Features], device: torch.device) -> bool:
    """See that a candidate in a shared row has the log-probabilities that it has alone. Every rank must call.

    Returns whether there was something to see: a completion of two tokens or more on some rank, since the first is
    predicted by the prompt. Raises ConfigError, on all ranks, where they differ.
    """
    pair = [filler, replace(filler, ids=filler.ids[::-1], candidate=-1)]
    engine.eval()
    apart, shared = (
        engine(collate(rows, [1.0, 1.0], [0.0, 0.0], pad_id, features).to(device))[0]
        for rows in ([[c] for c in pair], [pair])
    )
    engine.train()
    mine = float((apart - shared).abs().sum()) / max(1, 2 * len(filler.ids))
    gap, longest = distributed.reduce_numbers([mine, float(len(filler.ids))], "max")
    if not gap <= (EXACT if next(engine.module.parameters()).dtype == torch.float32 else HALF):
        raise ConfigError(
            f"train.share_prompts: found true, but log-probabilities of this architecture differ by {gap:.3g} nats per "
            "token between a row of its own and a shared one, so its attention takes no mask from outside. Set it to "
            "false."
        )
    return longest > 1
