"""Whole tensors and shards of a model that ZeRO-3 has partitioned: gathered in buckets, read, replaced, read from disk.

Beside `policy/engine.py` the only file that knows DeepSpeed.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from online_rl.errors import CheckpointError
from online_rl.policy.quiet import quiet_deepspeed
from online_rl.ranks import collectives

SHARDS = "zero"  # name of the folder with DeepSpeed's shards inside a checkpoint


@dataclass(frozen=True)
class Recipe:
    """One tensor as it lies on disk, and how to make it from whole parameters.

    name   what `save_pretrained` calls it
    parts  the parameters it is made of, and no others are gathered for it
    make   parts, whole -> the tensor; must not change them
    """

    name: str
    parts: tuple[Parameter, ...]
    make: Callable[..., Tensor]


def copied(parameter: Tensor) -> Tensor:
    """A parameter that lies on disk as it is. A copy: vLLM holds on to tensors until a whole layer has arrived, and
    ZeRO takes them back before that."""
    return parameter.detach().clone()


def gathered(recipes: Iterable[Recipe], limit: int) -> Iterator[tuple[str, Tensor]]:
    """(name on disk, whole tensor), every rank the same, gathered in buckets of at most `limit` bytes.

    A recipe whose parts are larger is a bucket by itself. What is made of a bucket lies beside it: as much again, at
    most. All ranks must take all of it.
    """
    bucket: list[Recipe] = []
    held = 0
    for recipe in recipes:
        size = sum(elements(part) * part.element_size() for part in recipe.parts)
        if bucket and held + size > limit:
            yield from _made(bucket)
            bucket, held = [], 0
        bucket.append(recipe)
        held += size
    if bucket:
        yield from _made(bucket)


def _made(bucket: list[Recipe]) -> list[tuple[str, Tensor]]:
    import deepspeed

    with deepspeed.zero.GatheredParameters([part for recipe in bucket for part in recipe.parts]), torch.no_grad():
        return [(recipe.name, recipe.make(*recipe.parts)) for recipe in bucket]


def elements(parameter: Parameter) -> int:
    """Of the whole parameter; numel() of a partitioned one is 0."""
    return getattr(parameter, "ds_numel", parameter.numel())


def shard(parameter: Parameter) -> Tensor:
    """This rank's part of a partitioned parameter, without the padding behind it. A view."""
    whole, part = elements(parameter), parameter.ds_tensor
    start = collectives.rank() * part.numel()
    return part.data.view(-1)[: max(0, min(part.numel(), whole - start))]


def master_shard(parameter: Parameter) -> Tensor:
    """The same part of the optimiser's float32 copy of a trained parameter."""
    from deepspeed.utils import safe_get_local_fp32_param

    return safe_get_local_fp32_param(parameter).view(-1)[: shard(parameter).numel()]


def regather_persistent(module: torch.nn.Module) -> None:
    """Make small parameters, which every rank keeps whole, what their shards are now. All ranks must call it."""
    kept = [p for p in module.parameters() if getattr(p, "ds_persist", False)]
    if kept:
        kept[0].partition(kept)
        kept[0].all_gather(kept)


def frozen_sums(module: torch.nn.Module) -> list[float]:
    """`sums` of what is not trained, over all ranks."""
    mine = sums(shard(p) for p in module.parameters() if not p.requires_grad)
    return collectives.reduce_numbers(mine)


def sums(tensors: Iterable[Tensor]) -> list[float]:
    """Two sums over all elements, absolute and squared, in float64: other weights give other sums."""
    total = torch.zeros(2, dtype=torch.float64)
    for tensor in tensors:
        values = tensor.detach().double()
        total += torch.stack([values.abs().sum(), values.square().sum()]).cpu()
    return total.tolist()


def same_sums(one: list[float], other: list[float]) -> bool:
    """Up to the order in which they were added."""
    return len(one) == len(other) and all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(one, other, strict=True))


def saved_weights(folder: Path) -> dict[str, Any]:
    """What `Policy.save` wrote, on one process and without a GPU: name in memory -> what gives the whole tensor by
    `.contiguous()`, so that one is put together at a time.

    Trained tensors are the float32 masters, frozen ones are as they were loaded. Raises CheckpointError.
    """
    try:
        with quiet_deepspeed(), contextlib.redirect_stderr(io.StringIO()):
            from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

            state = get_fp32_state_dict_from_zero_checkpoint(str(folder), tag=SHARDS, lazy_mode=True)
    except (OSError, ValueError, KeyError, RuntimeError) as problem:
        reason = str(problem).partition("\n")[0]
        raise CheckpointError(f"{folder}: its ZeRO shards cannot be put together ({reason}).") from problem
    return {name.removeprefix("hf."): tensor for name, tensor in state.items()}  # as PolicyModel calls the policy
