"""What ranks tell each other: sums, maxima, lists, and whether all of them are still well."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from online_rl.errors import JudgeFailed, RankFailed
from online_rl.exits import exit_code

T = TypeVar("T")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def device() -> torch.device:
    """Where this rank's tensors live."""
    return torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")


def barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def gather(value: T) -> list[T]:
    """The value of every rank, in rank order, on every rank. For small Python objects."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def reduce_numbers(values: list[float], op: str = "sum") -> list[float]:
    """Element-wise sum or max over ranks, in float64."""
    if world_size() == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64, device=device())
    dist.all_reduce(tensor, op=dist.ReduceOp.SUM if op == "sum" else dist.ReduceOp.MAX)
    return tensor.tolist()


def agree(error: BaseException | None) -> None:
    """Return when no rank met an error; otherwise raise on every rank: its own error, or which other rank failed.

    Every rank must call it at the same point, so that none is left waiting in a collective.
    """
    text = f"{type(error).__name__}: {error}"
    met = gather(None if error is None else (text, exit_code(error), isinstance(error, JudgeFailed)))
    failed = [(index, told) for index, told in enumerate(met) if told is not None]
    judges = [(index, told) for index, told in failed if told[2]]
    if error is not None and (isinstance(error, JudgeFailed) or not judges):
        raise error
    for index, (other, code, judge_failed) in judges or failed:  # what a failed judge asks for, every rank does
        raise RankFailed(f"rank {index} stopped: {other}", code, judge_failed) from error


@contextmanager
def together() -> Iterator[None]:
    """Run code that must not communicate; if any rank fails, every rank raises before the next collective.

    A rank that leaves by SystemExit or Ctrl-C has failed for the others as well, which would wait for it.
    """
    error: BaseException | None = None
    try:
        yield
    except BaseException as problem:
        error = problem
    agree(error)
