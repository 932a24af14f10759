"""Keeping others' compilers and progress bars off a user's console, unless --debug was given or they fail."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

DEBUG = "ONLINE_RL_DEBUG"  # set by --debug, and inherited by what a command starts


def shows_everything() -> bool:
    """Whether the user has asked for what others print."""
    return os.environ.get(DEBUG, "") not in ("", "0")


@contextmanager
def quiet_output() -> Iterator[None]:
    """Hold back what this process and those it starts (a compiler) print to stdout and stderr.

    If the block raises, all of it appears on stderr: it says why. With --debug nothing is held back.
    """
    if shows_everything():
        yield
        return
    _flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as said:
        try:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            try:
                yield
            finally:
                _flush()
                for number, original in enumerate(kept, start=1):
                    os.dup2(original, number)
                    os.close(original)
        except BaseException:
            said.seek(0)
            os.write(2, said.read())
            raise


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
