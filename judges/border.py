"""The boundary around a user's code: whatever it raises, SystemExit included, becomes one error that says where.

Messages name the user's object, the type of the exception, and file and line of the user's own frame. The text of an
exception may quote a report, so it stays out, but for `--debug`, which shows the traceback.

Only KeyboardInterrupt passes as it is: it is the user's wish, not the code's fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from judges.base import Case, Score
from judges.errors import JudgeError, JudgeFailed, UserError
from judges.http_answers import retry_after_s
from judges.objects import needed_module, user_line

# Classes of widely used clients that say that a server could not be reached or did not answer.
_CLIENTS = ("aiohttp", "anthropic", "grpc", "httpcore", "httpx", "openai", "requests", "urllib", "urllib3", "http")
_UNREACHABLE = (
    *("APIConnectionError", "ClientConnectionError", "ConnectionError", "HTTPError", "IncompleteRead", "Timeout"),
    *("TransportError", "URLError"),
)


@contextmanager
def border(
    subject: str, doing: str, error: type[UserError] = JudgeError, remedy: str = "Correct it."
) -> Iterator[None]:
    """Run a user's code. What it raises becomes `error`: "<subject>: <doing> raised ValueError (mine.py:3). <remedy>"

    Errors of this package pass as they are, as does the cancellation of the task that runs it.
    """
    try:
        yield
    except BaseException as problem:
        if passes(problem):
            raise
        raise error(f"{subject}: {doing} raised {where(problem)}. {remedy}") from problem


def passes(problem: BaseException) -> bool:
    """Whether an exception crosses the border as it is: ours, Ctrl-C, or the end of the task or generator around."""
    if isinstance(problem, asyncio.CancelledError):
        return _is_being_cancelled()
    return isinstance(problem, UserError | JudgeFailed | KeyboardInterrupt | GeneratorExit)


def where(problem: BaseException) -> str:
    """The type of an exception, with file and line of the user's frame: "ValueError (mine.py:3)"."""
    place = user_line(problem)
    return f"{type(problem).__name__} ({place})" if place else type(problem).__name__


def is_unreachable(problem: BaseException) -> bool:
    """Whether an exception says that a server is out of reach or busy (429, 5xx), so that asking again may help."""
    if isinstance(problem, ConnectionError):
        return True
    kinds = [kind.__name__ for kind in type(problem).__mro__ if kind.__module__.partition(".")[0] in _CLIENTS]
    if not kinds:
        return False
    status = getattr(problem, "code", None) or getattr(getattr(problem, "response", None), "status_code", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    return any(name in _UNREACHABLE for name in kinds)


def scores_after(problem: BaseException, name: str, cases: Sequence[Case]) -> list[Score]:
    """What the judge `name` has given if it raised `problem` over `cases`: FAILED if its server was out of reach.

    Raises JudgeError for anything else, and `problem` itself if it passes.
    """
    if passes(problem):
        raise problem
    if is_unreachable(problem):
        headers = getattr(getattr(problem, "response", problem), "headers", None)
        return [Score.failed(where(problem), retry_after_s(headers))] * len(cases)
    first = cases[0].study_id if cases else ""
    if needed := needed_module(problem):
        remedy = f"It {needed}."
    elif isinstance(problem, TimeoutError):
        remedy = "If it waits for a server, let it return Score.failed(reason) when there is no answer."
    else:
        remedy = "A judge that cannot be reached returns Score.failed(reason)."
    raise JudgeError(
        f"judge {name!r} raised {where(problem)} on {len(cases)} case(s) from study {first!r} on. {remedy}"
    ) from problem


def _is_being_cancelled() -> bool:
    """Whether the running task was cancelled from outside; otherwise a CancelledError is the user's own."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop here
        return False
    cancelling = getattr(task, "cancelling", None)  # not in Python 3.10
    return cancelling is None or cancelling() > 0
