"""Attention in a shared row, block by block: the prompt with itself, and each completion with the prompt and itself.

Under one mask over the whole row (`shared_prompts.tree_mask`), attention multiplies every token with every other and
discards most of the products: with G completions of C tokens behind a prompt of P it computes (P + G C)^2 and needs
P^2 + G C (P + C). For 8 reports of 65 tokens behind a prompt of 55 that is 331,000 against 65,000.

Legend: R rows, L tokens of a row, K completions that have tokens, P tokens of the longest prompt, T of the longest
completion, H heads, D size of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from online_rl.policy.passes.collate import rounded_up

NAME = "sdpa_of_branches"  # among transformers' implementations of attention
ARGUMENT = "branch_layout"  # under which models hand a layout on to their layers


@dataclass(frozen=True)
class BranchLayout:
    """Where the blocks of shared rows lie; tokens are counted through the rows, 0 to R L - 1.

    prompt   P
    queries  (K, T) the tokens of each completion, padded with arbitrary ones
    keys     (K, P + T) its prompt's tokens and its own
    mask     (K, 1, T, P + T) True if a token attends to a key
    outputs  (R, L) a token's place among R P prompts' tokens followed by K T completions'; arbitrary for padding
    """

    prompt: int
    queries: Tensor
    keys: Tensor
    mask: Tensor
    outputs: Tensor


def lay_out(branches: Tensor, multiple: int) -> BranchLayout | None:
    """The blocks of rows whose tokens belong to `branches` (R, L): 0 the prompt, k the k-th completion, -1 padding.

    multiple  P and T are rounded up to a multiple of it
    Returns None where no row has a token behind its prompt.
    """
    rows, length = branches.shape
    counts = one_hot(branches + 1).sum(1)[:, 1:]  # (R, 1 + completions of the fullest row)
    starts = counts.cumsum(1) - counts
    row, branch = (counts[:, 1:] > 0).nonzero(as_tuple=True)  # (K,)
    if not len(row):
        return None
    size, start, prompt = counts[row, branch + 1], starts[row, branch + 1], counts[row, 0]
    p = torch.arange(min(length, rounded_up(int(counts[:, 0].max()), multiple)), device=branches.device)
    t = torch.arange(rounded_up(int(size.max()), multiple), device=branches.device)

    queries = row[:, None] * length + (start[:, None] + t).clamp(max=length - 1)
    keys = torch.cat([row[:, None] * length + p, queries], dim=1)
    of_prompt = (p < prompt[:, None])[:, None].expand(-1, len(t), -1)
    of_own = (t <= t[:, None]).expand(len(row), -1, -1)

    # Padding is spread over all places: gradients that meet at one of them are added up one after the other.
    outputs = torch.arange(branches.numel(), device=branches.device).view_as(branches)
    outputs = outputs % (rows * len(p) + queries.numel())
    outputs[:, : len(p)] = torch.arange(rows * len(p), device=branches.device).view(rows, -1)
    real = t < size[:, None]
    places = rows * len(p) + torch.arange(queries.numel(), device=branches.device).view_as(queries)
    outputs.view(-1)[queries[real]] = places[real]
    return BranchLayout(len(p), queries, keys, torch.cat([of_prompt, of_own], dim=2)[:, None], outputs)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    branch_layout: BranchLayout | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' interface of attention: (R, L, H, D) of query (R, H, L, D) and key and value, maybe of fewer heads.

    With a layout the result is that of `tree_mask` on all tokens but padding; without one, that of attention_mask.
    A layout that is not of this query and key (attention to an image's features, say) is not used.
    """
    if branch_layout is None or not query.shape[2] == key.shape[2] == branch_layout.outputs.shape[1]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    at = branch_layout
    prompts = (part[:, :, : at.prompt] for part in (query, key, value))
    blocks = [(*prompts, None), (_taken(query, at.queries), *(_taken(part, at.keys) for part in (key, value)), at.mask)]
    done = [sdpa_attention_forward(module, *block, **options)[0].flatten(0, 1) for block in blocks]
    return torch.cat(done)[at.outputs], None  # (R P + K T, H, D) -> (R, L, H, D)


def _taken(heads: Tensor, tokens: Tensor) -> Tensor:
    """(K, H, S, D) of (R, H, L, D): the tokens (K, S) that are named."""
    return heads.transpose(1, 2).flatten(0, 1)[tokens].transpose(1, 2)


def use_in(model: nn.Module) -> bool:
    """Use `attend` in the language part of a model whose rows can be shared. Returns whether the model takes layouts.

    The models in transformers pass them on to their layers; one that does not falls back to `tree_mask`. Remote code
    may not accept the argument, so it is left as it is.
    """
    if not type(model).__module__.startswith("transformers."):
        return False
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.config.get_text_config()._attn_implementation = NAME  # type: ignore[union-attr, operator]
    return True
