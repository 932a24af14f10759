"""The lock on a run folder: one run at a time writes there, on whichever machine it is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
import warnings
from pathlib import Path

from online_rl.errors import ConfigError

NAME = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of file systems that know none


class RunLock:
    """Held from when it is made until `close`. Making it raises ConfigError if another run holds it.

    The kernel frees the lock however its owner ends, so that of a dead one is taken over. The file says who holds it;
    its content decides nothing.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / NAME
        self._handle: int | None = None
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            self._take()
        except OSError as problem:
            self.close()
            raise ConfigError(
                f"run.dir: {run_dir} cannot be written ({problem.strerror}). Set run.dir elsewhere."
            ) from None

    def _take(self) -> None:
        while True:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._refusal() from None
            except OSError as problem:
                if problem.errno not in NO_LOCKS:
                    raise
                message = f"{self.path}: this file system has no locks; see that no second run writes here."
                warnings.warn(message, stacklevel=4)
            if self._is_still_there():
                break
            os.close(self._handle)  # its owner removed it between our opening and locking
        os.ftruncate(self._handle, 0)
        owner = {"host": socket.gethostname(), "process": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        os.pwrite(self._handle, json.dumps(owner).encode(), 0)

    def _is_still_there(self) -> bool:
        assert self._handle is not None
        try:
            return os.path.samestat(os.fstat(self._handle), self.path.stat())
        except FileNotFoundError:
            return False

    def _refusal(self) -> ConfigError:
        assert self._handle is not None
        try:
            owner = json.loads(os.pread(self._handle, 4096, 0))
            who = f"by process {owner['process']} on {owner['host']} since {owner['since']}"
        except (ValueError, KeyError, TypeError):  # it has just begun
            who = "by another process"
        os.close(self._handle)
        self._handle = None
        return ConfigError(
            f"run.dir: {self.path.parent} is in use {who}. Wait for that run, stop it, or set another run.dir."
        )

    def close(self) -> None:
        """Let the next run in. Calling it again does nothing."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            with contextlib.suppress(OSError):  # while it is still locked, so that nobody else's is removed
                self.path.unlink(missing_ok=True)
            os.close(handle)
