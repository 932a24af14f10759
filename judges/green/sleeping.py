"""Servers on GPUs that train as well: put to sleep, woken, and asked whether they did.

vLLM answers 200 to a switch that did not take place: to one that came while another was under way, and to a wake-up
that was refused memory. A request to a server that is still paused waits for ever, and a server that is still awake
leaves the update without memory. So each switch ends with `GET /is_sleeping`, and is asked for again until that agrees.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import httpx

from judges.errors import JudgeFailed

SWITCH_S = 100.0  # that a switch may take; the first sleep allocates as much pinned memory as the model has weights
OTHERS_S = 20.0  # that a rank waits for the rank whose task it is before it asks the server itself
LOOK_S = 0.1  # between two looks
LOG = logging.getLogger(__name__)


def put_to_sleep(urls: Sequence[str], acts: bool = True) -> None:
    """Move the servers' weights to CPU memory and drop their caches (vLLM's sleep level 1); returns once they sleep.

    acts  this rank asks for it; the others wait until it has happened

    A server that is gone holds no memory: that is logged. Raises JudgeFailed if one stays awake.
    """
    for url in urls:
        problem = _switch(url, "sleep?level=1", True, acts)
        if problem and not problem.gone:
            raise JudgeFailed(
                f"judge server {url} is still awake {SWITCH_S:g} s after it was told to sleep ({problem}). The update "
                "needs its GPU memory. See the server's log; give it a GPU of its own, or start again with resume=auto."
            )
        if problem:
            LOG.warning("judge server %s did not sleep (%s).", url, problem)


def wake(urls: Sequence[str], acts: bool = True) -> None:
    """Bring the servers back; returns once they are awake. Raises JudgeFailed if one stays asleep, or all are gone."""
    gone = []
    for url in urls:
        problem = _switch(url, "wake_up", False, acts)
        if problem and not problem.gone:
            raise JudgeFailed(
                f"judge server {url} is still asleep {SWITCH_S:g} s after it was told to wake ({problem}), probably "
                "for want of GPU memory. See the server's log; lower rollout.gpu_memory_utilization or give it a GPU "
                "of its own, and start again with resume=auto."
            )
        if problem:
            gone.append(f"{url}: {problem}")
            LOG.warning("judge server %s did not wake (%s).", url, problem)
    if gone and len(gone) == len(urls):
        raise JudgeFailed(
            f"no judge server could be woken ({'; '.join(gone)}). See the server's log, and start again with "
            "resume=auto."
        )


class _Problem(str):
    """What a server did instead. `gone`: it refuses connections."""

    gone = False


def _switch(url: str, action: str, asleep: bool, acts: bool) -> _Problem | None:
    """Ask for `action` until the server is as wanted; None once it is."""
    with httpx.Client(timeout=SWITCH_S, trust_env=False) as http:
        return _switch_with(http, url, action, asleep, acts)


def _switch_with(http: httpx.Client, url: str, action: str, asleep: bool, acts: bool) -> _Problem | None:
    start = time.monotonic()
    problem = _Problem("nobody asked it to")
    while True:
        waited = time.monotonic() - start
        try:
            if _is_sleeping(http, url) == asleep:
                return None
            if acts or waited > OTHERS_S:
                answer = http.post(f"{url}/{action}")
                problem = _Problem(f"HTTP {answer.status_code} to POST /{action}")
                if _is_sleeping(http, url) == asleep:
                    return None
        except httpx.ConnectError as refused:
            problem = _Problem(type(refused).__name__)
            problem.gone = True
            return problem
        except (httpx.RequestError, ValueError, KeyError, TypeError) as other:
            problem = _Problem(type(other).__name__)
        if time.monotonic() - start > SWITCH_S:
            return problem
        time.sleep(LOOK_S)


def _is_sleeping(http: httpx.Client, url: str) -> bool:
    return bool(http.get(f"{url}/is_sleeping").json()["is_sleeping"])
