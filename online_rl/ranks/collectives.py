"""What ranks tell each other: sums, maxima, lists, and whether all of them are still well."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakMethod

import torch
import torch.distributed as dist

from online_rl.errors import JudgeFailed, NonFiniteUpdate, RankFailed
from online_rl.exits import SAID, exit_code

T = TypeVar("T")
MET = "_met_by_all_ranks"  # attribute of an error that `agree` has told to all
_unfinished: list[WeakMethod[Callable[[], None]]] = []  # what others wait for, beside `agree`


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def every_nth(everything: Sequence[T]) -> list[T]:
    """This rank's items, every `world_size()`-th: neighbours, which are alike, go to different ranks."""
    return list(everything[rank() :: world_size()])


def run_of(everything: Sequence[T]) -> list[T]:
    """This rank's items, one after the other: of 10 for 4 ranks the first has 0 and 1, the second 2 to 4."""
    first, last = (len(everything) * at // world_size() for at in (rank(), rank() + 1))
    return list(everything[first:last])


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def device() -> torch.device:
    """The device that holds this rank's tensors."""
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

    Every rank must call it at the same point, so that none is left waiting in a collective. If several met an error of
    one kind, each raises its own, and only the first of them prints it. A judge's failure goes before other errors.
    """
    met = gather(None if error is None else (type(error).__name__, _text(error), exit_code(error), _is_judges(error)))
    failed = [(index, told) for index, told in enumerate(met) if told is not None]
    if not failed:
        return
    first, (kind, text, code, judge_failed) = next((f for f in failed if f[1][3]), failed[0])
    alike = error is not None and type(error).__name__ == kind
    if error is not None and (alike or not judge_failed):
        error.__dict__[MET] = True
        error.__dict__[SAID] = alike and first != rank()
        raise error
    raise RankFailed(f"rank {first} stopped: {kind}: {text}", code, judge_failed) from error


@contextmanager
def met_by_all() -> Iterator[None]:
    """Mark what is raised inside as raised on every rank at this point: all go by the same numbers."""
    try:
        yield
    except Exception as error:
        error.__dict__[MET] = True
        raise


def is_met_by_all(error: BaseException) -> bool:
    """Whether every rank raises at this point, so that they can still do something together, such as saving."""
    alike = isinstance(error, RankFailed | JudgeFailed | NonFiniteUpdate)  # raised on all by what all have gathered
    return world_size() == 1 or alike or error.__dict__.get(MET, False)


def _is_judges(error: BaseException) -> bool:
    return isinstance(error, JudgeFailed)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a user's class, whose text cannot be made
        return ""


def finish_first(task: Callable[[], None]) -> None:
    """Have a rank that fails in `together` call `task`, a method, before it tells the others, which may wait for that
    as well. It is not kept alive for it."""
    _unfinished.append(WeakMethod(task))


@contextmanager
def together() -> Iterator[None]:
    """Run code whose failure on one rank must not leave the others waiting; every rank then raises before the next
    collective. The code may communicate only where a failing rank still carries out the rest of the exchange.

    A rank that leaves by SystemExit or Ctrl-C has failed for the others as well, which would wait for it. An error that
    all ranks have agreed on inside is raised as it is.
    """
    error: BaseException | None = None
    try:
        yield
    except BaseException as problem:
        if isinstance(problem, RankFailed) or problem.__dict__.get(MET, False):
            raise
        error = problem
        for reference in _unfinished:
            if task := reference():
                task()
    agree(error)
