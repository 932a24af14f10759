"""`LoopThread`: one event loop that outlives a call, so that an async judge keeps its connections instead of leaving
some behind with every loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable
from typing import Any

from judges.errors import JudgeFailed

CLOSE_S = 1.0  # what still runs when the loop is closed is cancelled, and gets so long to end


class LoopThread:
    """An event loop in a thread of its own, which starts with the first call."""

    def __init__(self, name: str = "judge") -> None:
        self.name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def result(self, awaitable: Awaitable[Any]) -> Any:
        """What the awaitable comes to, from any thread; it raises what that raises, and JudgeFailed once closed."""
        if threading.current_thread() is self._thread:  # a judge that scores with another one: its own loop is busy
            inner = LoopThread(self.name)
            try:
                return inner.result(awaitable)
            finally:
                inner.close()
        loop = self._running()
        running = asyncio.run_coroutine_threadsafe(_caught(awaitable), loop)
        try:
            answer, problem = running.result()
        except BaseException:  # Ctrl-C: nobody waits for it any more
            running.cancel()
            raise
        if isinstance(problem, asyncio.CancelledError) and loop is not self._loop:
            raise JudgeFailed(f"{self.name}: closed before it had answered.") from None
        if problem is not None:
            raise problem
        return answer

    def close(self) -> None:
        """End what still runs, then the thread; a later call starts another one."""
        with self._starting:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None or not thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(2 * CLOSE_S)  # longer only where a judge blocks the loop

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None or self._thread is None or not self._thread.is_alive():  # a fork has no threads
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_run, args=(self._loop,), name=self.name, daemon=True)
                self._thread.start()
            return self._loop


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is stopped, then end what it has left and close it.

    SystemExit in a task of a judge's own leaves `run_forever`, and only the call that waits for it should see it.
    """
    asyncio.set_event_loop(loop)
    stopped = False
    while not stopped:
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()
            stopped = True
    with contextlib.suppress(BaseException):
        loop.run_until_complete(_ended(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Let tasks such as a connection that closes come to their end; cancel what takes longer."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=CLOSE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _caught(awaitable: Awaitable[Any]) -> tuple[Any, BaseException | None]:
    """The answer and the exception, one of them None. SystemExit as an exception of a task would end the loop."""
    try:
        return await awaitable, None
    except BaseException as problem:
        return None, problem
