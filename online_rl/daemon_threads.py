"""Daemon threads for blocking calls: one that hangs can be left behind, and cannot keep the process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

Work = tuple[Future, Callable[..., Any], tuple[Any, ...]]


class DaemonThreads:
    """Runs each call in an idle thread, or in a new one where all are busy; the caller bounds how many it starts.

    The standard library's executors join their threads when the interpreter ends, so that a single call that never
    returns would keep the process alive for good.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = self._started = 0

    def run(self, function: Callable[..., Any], *arguments: Any) -> Future:
        """The future of `function(*arguments)`."""
        future: Future = Future()
        with self._lock:
            self._work.put((future, function, arguments))
            if self._idle:
                self._idle -= 1  # it is this call's now
                return future
            self._started += 1
            name = f"{self.name}-{self._started}"
        threading.Thread(target=self._serve, name=name, daemon=True).start()
        return future

    def close(self) -> None:
        """Let every thread end once it has returned from its call; none is waited for."""
        with self._lock:
            for _ in range(self._started):
                self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            future, function, arguments = work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*arguments))
                except BaseException as problem:  # the waiting side decides what it is
                    future.set_exception(problem)
            del future, work  # an idle thread keeps no case alive
            with self._lock:
                self._idle += 1
