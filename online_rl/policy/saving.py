"""Saving under DeepSpeed without leaving the other ranks behind when one of them cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def errors_after_barriers(engine: Any) -> Iterator[None]:
    """While the block saves: what a rank cannot write is raised when the block ends, not in the middle.

    DeepSpeed's `save_checkpoint` has barriers between its files. A rank whose disk is full would leave it at the first
    file, and the others would wait at the next barrier until the time-out. RuntimeError is what torch.save raises then.
    """
    writer = engine.checkpoint_engine
    errors: list[Exception] = []

    def save(*args: Any, **kwargs: Any) -> Any:
        try:
            return plain(*args, **kwargs)
        except (OSError, RuntimeError) as problem:
            errors.append(problem)
            return None

    plain, recovery = writer.save, engine._copy_recovery_script
    writer.save = save
    engine._copy_recovery_script = lambda folder: None  # DeepSpeed's own script; `online-rl export` is ours
    try:
        yield
    finally:
        writer.save, engine._copy_recovery_script = plain, recovery
    if errors:
        raise errors[0]
