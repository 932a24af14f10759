"""Micro-batches: completions behind their prompts and images, padded to the longest.

Legend: B completions, L tokens of the longest prompt + completion, T tokens of the longest completion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from online_rl.rollout.types import Completion


@dataclass
class MicroBatch:
    """Tensors of one forward pass.

    inputs     for the model: input_ids and attention_mask (B, L), and the images of every row in order
    predicts   (B, L) True where the position's next token is a completion token
    tokens     (B, T) the completion tokens, 0 where padded
    mask       (B, T) 1.0 on completion tokens
    sampled    (B, T) their log-probabilities under vLLM, nats
    weights    (units,) 0.0 for a unit that only fills up the pass
    advantages (units,)
    """

    inputs: dict[str, Tensor]
    predicts: Tensor
    tokens: Tensor
    mask: Tensor
    sampled: Tensor
    weights: Tensor
    advantages: Tensor

    @property
    def usable(self) -> Tensor:
        """(B, T) the mask without tokens whose log-probability vLLM reported as NaN or infinite."""
        return self.mask * torch.isfinite(self.sampled)

    def to(self, device: torch.device) -> MicroBatch:
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return MicroBatch(inputs={k: v.to(device) for k, v in self.inputs.items()}, **moved)


def collate(
    completions: Sequence[Completion], weights: Sequence[float], advantages: Sequence[float], pad_id: int
) -> MicroBatch:
    """Lay out `completions` (units one after the other) for one forward pass, padded on the right."""
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
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    inputs |= _prompt_inputs([c.prompt.inputs for c in completions], [len(c.prompt.ids) for c in completions], length)
    return MicroBatch(
        inputs, predicts, tokens, mask, sampled, torch.tensor(list(weights)), torch.tensor(list(advantages))
    )


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
