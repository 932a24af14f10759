"""How a command ends: exit code 0, or one paragraph on stderr and a code that says who can put it right."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from online_rl.errors import (
    Collapsed,
    EngineFailed,
    JudgeFailed,
    NonFiniteUpdate,
    PolicyMismatch,
    RankFailed,
    UserError,
)

HEAD_START_S = 5.0
FAULT = 1  # of the program
USER_ERROR = 2
STOPPED = 3  # the run could not continue, through no fault of the configuration
STOPPED_EARLY = 75  # on request (SIGTERM, train.stop_after), saved; start again with resume=auto
INTERRUPTED = 130  # what shells report for Ctrl-C
SAID = "_said_by_another_rank"  # attribute of an error that another rank has met as well, and prints
CANNOT_GO_ON = (JudgeFailed, EngineFailed, NonFiniteUpdate, PolicyMismatch, Collapsed)


def exit_code(error: BaseException) -> int:
    """The code that a command ends with when `error` ends it."""
    if isinstance(error, RankFailed):
        return error.code
    if isinstance(error, UserError):
        return USER_ERROR
    if isinstance(error, CANNOT_GO_ON):
        return STOPPED
    return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAULT


def run_with_exit_codes(fn: Callable[[], int | None], debug: bool = False) -> int:
    """Call `fn` and return its exit code.

    2 for what the user can put right (`UserError`), 3 for a run that had to stop (a judge out of reach, an engine that
    failed, a non-finite update, engine and trainer apart, reports that collapse), 130 for Ctrl-C. A rank that stops
    because another one did says nothing and ends with the other's code. Other exceptions are faults of the program and
    keep their traceback. With `debug` every exception does.
    """
    try:
        return fn() or 0
    except (UserError, *CANNOT_GO_ON, RankFailed, KeyboardInterrupt) as error:
        if debug:
            raise
        if isinstance(error, KeyboardInterrupt):
            print("interrupted.", file=sys.stderr)
        elif not isinstance(error, RankFailed) and not error.__dict__.get(SAID, False):
            _let_first_rank_speak()
            print(f"error: {error}", file=sys.stderr, flush=True)
        return exit_code(error)


def _let_first_rank_speak() -> None:
    """Before ranks can talk to each other, all meet the same error: once rank 0 has said it, the launcher ends us."""
    distributed = sys.modules.get("torch.distributed")
    talking = distributed is not None and distributed.is_initialized()
    if os.environ.get("LOCAL_RANK", "0") != "0" and not talking:
        time.sleep(HEAD_START_S)
