"""Micro-batches: rows of a prompt with its images followed by one or more completions, padded to the longest row.

Legend: R rows, L tokens of the longest row, B completions, T tokens of the longest completion,
K completions that are laid out, N their tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from online_rl.policy.passes.vision_cut import Features
from online_rl.rollout.types import Completion, Prompt


@dataclass
class MicroBatch:
    """Tensors of one forward pass.

    ids        (R, L) prompts and completions
    branches   (R, L) what a token belongs to: 0 the prompt, k the row's k-th completion, -1 padding
    offsets    (R, L) its position in the text that it belongs to, counted from the prompt's beginning
    completions whose tokens these are (B)
    prompts    one per row; their images are laid out when the pass runs, so that they are held once per study
    features   of the rows' images if all of them have been encoded before; else None
    first      (K,) of the B, each completion that is laid out, once
    again      (B,) which of those K each of the B is: a completion that is in two pairs is laid out once per row
    predictors (N,) positions among the R * L that predict the tokens of the K, completion by completion
    tokens     (B, T) the completion tokens, 0 where padded
    mask       (B, T) 1.0 on completion tokens
    sampled    (B, T) their log-probabilities under vLLM, nats
    weights    (units,) 0.0 for a unit that only fills up the pass
    advantages (units,)
    multiple   that L is rounded up to
    slices     in which the logits are computed, the same number on every rank
    """

    ids: Tensor
    branches: Tensor
    offsets: Tensor
    completions: list[Completion]
    prompts: list[Prompt]
    features: list[Features] | None
    first: Tensor
    again: Tensor
    predictors: Tensor
    tokens: Tensor
    mask: Tensor
    sampled: Tensor
    weights: Tensor
    advantages: Tensor
    multiple: int = 1
    slices: int = 1

    @property
    def shares_prompts(self) -> bool:
        """Whether a row holds more than one completion."""
        return len(self.tokens) > len(self.ids)

    @property
    def usable(self) -> Tensor:
        """(B, T) the mask without tokens whose log-probability vLLM reported as NaN or infinite."""
        return self.mask * torch.isfinite(self.sampled)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Inputs of the model on the device of the ids: the ids, their mask, and the images of every row in order."""
        rows, lengths = [p.inputs for p in self.prompts], [len(p.ids) for p in self.prompts]
        images = {k: v.to(self.ids.device) for k, v in _prompt_inputs(rows, lengths, self.ids.shape[1]).items()}
        return {"input_ids": self.ids, "attention_mask": (self.branches >= 0).long()} | images

    def to(self, device: torch.device) -> MicroBatch:
        return replace(self, **{k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)})


def collate(
    rows: Sequence[Sequence[Completion]],
    weights: Sequence[float],
    advantages: Sequence[float],
    pad_id: int,
    features: Mapping[str, Features] | None = None,
    multiple: int = 1,
) -> MicroBatch:
    """Lay out `rows` for one forward pass, padded on the right.

    rows      completions of one prompt each; one that is in a row twice is laid out once
    weights, advantages   of the units, which follow one another through the rows
    features  of the prompts' images, by `Prompt.key`; used if all rows have them
    multiple  that L is rounded up to

    A prompt [11, 12, 13] with the completions a = [21, 22] and b = [31] in one row, a prompt [14] with c = [41, 42] in
    another, padded with 99:

        ids         [[11, 12, 13, 21, 22, 31],    tokens  [[21, 22],    a
                     [14, 41, 42, 99, 99, 99]]             [31,  0],    b
        branches    [[ 0,  0,  0,  1,  1,  2],             [41, 42]]    c
                     [ 0,  1,  1, -1, -1, -1]]    mask    [[1, 1], [1, 0], [1, 1]]
        offsets     [[ 0,  1,  2,  3,  4,  3],    b starts where a does, right behind the prompt
                     [ 0,  1,  2,  0,  0,  0]]
        predictors  [2, 3, 2, 6, 7]               positions 0 to 11 of both rows: 13 predicts 21 and also 31
    """
    laid_out = [_Row(row) for row in rows]
    completions = [c for row in rows for c in row]
    length = rounded_up(max(len(row.ids) for row in laid_out), multiple)
    longest = max(1, *(len(c.ids) for c in completions))
    ids = torch.full((len(rows), length), pad_id, dtype=torch.long)
    branches = torch.full((len(rows), length), -1)
    offsets = torch.zeros((len(rows), length), dtype=torch.long)
    first: list[int] = []
    again: list[int] = []
    predictors: list[int] = []
    for r, row in enumerate(laid_out):
        size = len(row.ids)
        ids[r, :size] = torch.tensor(row.ids)
        branches[r, :size] = torch.tensor(row.branches)
        offsets[r, :size] = torch.tensor(row.offsets)
        predictors += [r * length + position for position in row.predictors]
        known: dict[str, int] = {}  # a completion's key -> which of the K it is
        for completion in rows[r]:
            if completion.key not in known:
                known[completion.key] = len(first)
                first.append(len(again))
            again.append(known[completion.key])
    tokens = torch.zeros((len(completions), longest), dtype=torch.long)
    mask, sampled = torch.zeros(tokens.shape), torch.zeros(tokens.shape)
    for b, completion in enumerate(completions):
        size = len(completion.ids)
        tokens[b, :size] = torch.tensor(completion.ids)
        mask[b, :size] = 1.0
        sampled[b, :size] = torch.tensor(completion.logprobs)
    prompts = [row[0].prompt for row in rows]
    encoded = [features[p.key] for p in prompts] if features and all(p.key in features for p in prompts) else None
    return MicroBatch(
        ids=ids,
        branches=branches,
        offsets=offsets,
        completions=completions,
        prompts=prompts,
        features=encoded,
        first=torch.tensor(first, dtype=torch.long),
        again=torch.tensor(again, dtype=torch.long),
        predictors=torch.tensor(predictors, dtype=torch.long),
        tokens=tokens,
        mask=mask,
        sampled=sampled,
        weights=torch.tensor(list(weights)),
        advantages=torch.tensor(list(advantages)),
        multiple=multiple,
    )


def rounded_up(length: int, multiple: int) -> int:
    """The next multiple.

    >>> rounded_up(130, 128), rounded_up(128, 128)
    (256, 128)
    """
    return -(-length // multiple) * multiple


class _Row:
    """A prompt followed by each of the completions once, token by token.

    predictors  positions that predict a completion's tokens: the prompt's last, then all of its own but the last
    """

    def __init__(self, completions: Sequence[Completion]) -> None:
        prompt = completions[0].prompt.ids
        self.ids, self.branches, self.offsets = list(prompt), [0] * len(prompt), list(range(len(prompt)))
        self.predictors: list[int] = []
        for branch, completion in enumerate({c.key: c for c in completions}.values(), start=1):
            if completion.ids:
                self.predictors += [len(prompt) - 1, *range(len(self.ids), len(self.ids) + len(completion.ids) - 1)]
            self.ids += completion.ids
            self.branches += [branch] * len(completion.ids)
            self.offsets += range(len(prompt), len(prompt) + len(completion.ids))


def _prompt_inputs(rows: list[dict[str, Any]], prompt_lengths: list[int], length: int) -> dict[str, Tensor]:
    """The processor's other tensors: those with one value per token are padded to L, all others are concatenated."""
    joined = {}
    for name in rows[0]:
        parts = [row[name] for row in rows]
        if all(
            p.dim() == 2 and p.shape[1] == n and not p.is_floating_point()
            for p, n in zip(parts, prompt_lengths, strict=True)
        ):
            joined[name] = torch.cat([torch.nn.functional.pad(p, (0, length - p.shape[1])) for p in parts])
        elif parts[0].dim() >= 4 and name in ("pixel_values", "pixel_attention_mask"):
            images = max(p.shape[1] for p in parts)  # (1, images, ...): rows with fewer get empty ones, as HF pads
            joined[name] = torch.cat([_pad_images(p, images) for p in parts])
        else:
            joined[name] = torch.cat(parts)
    return joined


def _pad_images(tensor: Tensor, images: int) -> Tensor:
    empty = tensor.new_zeros(len(tensor), images - tensor.shape[1], *tensor.shape[2:])
    return torch.cat([tensor, empty], dim=1)
