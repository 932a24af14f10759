"""Micro-batches: completions behind their prompts and images, padded to the longest.

Legend: B completions, L tokens of the longest prompt + completion, T tokens of the longest completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from online_rl.policy.features import Features
from online_rl.rollout.types import Completion, Prompt


@dataclass
class MicroBatch:
    """Tensors of one forward pass.

    ids        (B, L) prompts and completions
    attention  (B, L) 1 where they are
    prompts    one per row; their images are laid out when the pass runs, so that they are held once per study
    features   of the rows' images, where they were seen before; else None
    predicts   (B, L) True where the position's next token is a completion token
    tokens     (B, T) the completion tokens, 0 where padded
    mask       (B, T) 1.0 on completion tokens
    sampled    (B, T) their log-probabilities under vLLM, nats
    slices     in which the logits are computed, the same number on every rank
    weights    (units,) 0.0 for a unit that only fills up the pass
    advantages (units,)
    """

    ids: Tensor
    attention: Tensor
    prompts: list[Prompt]
    features: list[Features] | None
    predicts: Tensor
    tokens: Tensor
    mask: Tensor
    sampled: Tensor
    weights: Tensor
    advantages: Tensor
    slices: int = 1

    @property
    def usable(self) -> Tensor:
        """(B, T) the mask without tokens whose log-probability vLLM reported as NaN or infinite."""
        return self.mask * torch.isfinite(self.sampled)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What the model reads, on the device of the ids: they, their mask, and the images of every row in order."""
        rows, lengths = [p.inputs for p in self.prompts], [len(p.ids) for p in self.prompts]
        images = {k: v.to(self.ids.device) for k, v in _prompt_inputs(rows, lengths, self.ids.shape[1]).items()}
        return {"input_ids": self.ids, "attention_mask": self.attention} | images

    def to(self, device: torch.device) -> MicroBatch:
        return replace(self, **{k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)})


def collate(
    completions: Sequence[Completion],
    weights: Sequence[float],
    advantages: Sequence[float],
    pad_id: int,
    features: Mapping[int, Features] | None = None,
) -> MicroBatch:
    """Lay out `completions` (units one after the other) for one forward pass, padded on the right.

    features  of the prompts' images, by the prompt's id(); used where all rows have them
    """
    rows = [c.prompt.ids + c.ids for c in completions]
    length, longest = max(map(len, rows)), max(len(c.ids) for c in completions)
    batch = len(rows)
    input_ids = torch.full((batch, length), pad_id, dtype=torch.long)
    attention_mask = torch.zeros((batch, length), dtype=torch.long)
    predicts = torch.zeros((batch, length), dtype=torch.bool)
    tokens = torch.zeros((batch, longest), dtype=torch.long)
    mask = torch.zeros((batch, longest))
    sampled = torch.zeros((batch, longest))
    for b, (completion, row) in enumerate(zip(completions, rows, strict=True)):
        prompt, size = len(completion.prompt.ids), len(completion.ids)
        input_ids[b, : len(row)] = torch.tensor(row)
        attention_mask[b, : len(row)] = 1
        predicts[b, prompt - 1 : prompt - 1 + size] = True
        tokens[b, :size] = torch.tensor(completion.ids)
        mask[b, :size] = 1.0
        sampled[b, :size] = torch.tensor(completion.logprobs)
    prompts = [c.prompt for c in completions]
    known = [features[id(p)] for p in prompts] if features and all(id(p) in features for p in prompts) else None
    units = (torch.tensor(list(weights)), torch.tensor(list(advantages)))
    return MicroBatch(input_ids, attention_mask, prompts, known, predicts, tokens, mask, sampled, *units)


def _prompt_inputs(rows: list[dict[str, Any]], prompt_lengths: list[int], length: int) -> dict[str, Tensor]:
    """The processor's further tensors: one value per token is padded to L, everything else is laid end to end."""
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
