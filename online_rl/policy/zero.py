"""Whole tensors and shards of a model that ZeRO-3 has partitioned: gathered in buckets, replaced, read from disk."""

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
from online_rl.policy.deepspeed import quiet_deepspeed
from online_rl.ranks import collectives

SHARDS = "zero"  # name of the folder with DeepSpeed's shards inside a checkpoint


@dataclass(frozen=True)
class Recipe:
    """One tensor as it is stored on disk, and how to make it from whole parameters.

    name   the name that `save_pretrained` gives it
    parts  the parameters it is made of; only these are gathered for it
    make   whole parts -> the tensor; must not change them
    """

    name: str
    parts: tuple[Parameter, ...]
    make: Callable[..., Tensor]


def copied(parameter: Tensor) -> Tensor:
    """A parameter that is stored on disk unchanged. A copy, because vLLM keeps tensors until a whole layer has arrived,
    and ZeRO frees them before that."""
    return parameter.detach().clone()


def gathered(recipes: Iterable[Recipe], limit: int) -> Iterator[tuple[str, Tensor]]:
    """(name on disk, whole tensor), every rank the same, gathered in buckets of at most `limit` bytes.

    A recipe whose parts are larger is a bucket by itself. The tensors made from a bucket exist beside it, and take at
    most as much memory again. Every rank must take all of them.
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
    """Number of elements in the unpartitioned parameter; numel() of a partitioned one is 0."""
    return getattr(parameter, "ds_numel", parameter.numel())


def shard(parameter: Parameter) -> Tensor:
    """This rank's part of a partitioned parameter, without padding. A view."""
    whole, part = elements(parameter), parameter.ds_tensor
    start = collectives.rank() * part.numel()
    return part.data.view(-1)[: max(0, min(part.numel(), whole - start))]


def master_shard(parameter: Parameter) -> Tensor:
    """This rank's part of the optimiser's float32 copy of a trained parameter."""
    from deepspeed.utils import safe_get_local_fp32_param

    return safe_get_local_fp32_param(parameter).view(-1)[: shard(parameter).numel()]


def regather_persistent(module: torch.nn.Module) -> None:
    """Rebuild small parameters, which every rank keeps whole, from their changed shards. Every rank must call."""
    kept = [p for p in module.parameters() if getattr(p, "ds_persist", False)]
    if kept:
        kept[0].partition(kept)
        kept[0].all_gather(kept)


def frozen_sums(module: torch.nn.Module) -> list[float]:
    """`sums` of all parameters that are not trained, over all ranks."""
    mine = sums(shard(p) for p in module.parameters() if not p.requires_grad)
    return collectives.reduce_numbers(mine)


def sums(tensors: Iterable[Tensor]) -> list[float]:
    """Sums of the absolute and of the squared elements, in float64: a fingerprint of the weights."""
    total = torch.zeros(2, dtype=torch.float64)
    for tensor in tensors:
        values = tensor.detach().double()
        total += torch.stack([values.abs().sum(), values.square().sum()]).cpu()
    return total.tolist()


def same_sums(one: list[float], other: list[float]) -> bool:
    """Whether two `sums` are equal up to the order of addition."""
    return len(one) == len(other) and all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(one, other, strict=True))


def saved_weights(folder: Path) -> dict[str, Any]:
    """Read what `Policy.save` wrote, in one process and without a GPU: name in memory -> an object whose
    `.contiguous()` is the whole tensor, so that only one is assembled at a time.

    Trained tensors are the float32 masters, frozen ones as they were loaded. Raises CheckpointError.
    """
    try:
        with quiet_deepspeed(), contextlib.redirect_stderr(io.StringIO()):
            from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

            state = get_fp32_state_dict_from_zero_checkpoint(str(folder), tag=SHARDS, lazy_mode=True)
    except (OSError, ValueError, KeyError, RuntimeError) as problem:
        reason = str(problem).partition("\n")[0]
        raise CheckpointError(f"{folder}: its ZeRO shards cannot be put together ({reason}).") from problem
    return {name.removeprefix("hf."): tensor for name, tensor in state.items()}  # PolicyModel's name for the policy
