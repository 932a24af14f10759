"""A judge server that the trainer starts itself: one per node, shared by its ranks, gone when the last of them is.

The ranks of a node find each other through a folder under the system's temporary folder, named after what is served:

    start.lock   held by the rank that looks whether a server runs, and starts one where none does
    users        every rank holds a shared lock on it (`flock`), which the kernel takes back however the rank ends
    server.json  the URL; its keeper holds an exclusive lock on it, so a file without a lock is of a server that is gone
    server.log   what it says

`python -m judges.green.keeper FOLDER COMMAND...` is the server's parent. As soon as it gets the exclusive lock on
`users`, nobody uses the server, and it stops it, with its whole process group. Where the keeper itself is killed, the
kernel tells the server to end (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from judges.errors import ConfigError
from judges.green.server import server_command, server_environment, this_platform
from judges.network import free_port

LOOK_S = 0.3  # between looks at whether anybody still uses the server
GRACE_S = 10.0  # from asking the server to end to killing it
_PR_SET_PDEATHSIG = 1
_UNPLACED = (
    "judge server: it starts on the GPU of the first rank and would take nine tenths of its memory. Give it one of its "
    'own (server: {gpu: "7"}), or let it share (place: shared).'
)
LOG = logging.getLogger(__name__)


class OwnServer:
    """The server of `model` on this node, started by whichever rank comes first.

    gpu        CUDA_VISIBLE_DEVICES of the server; None: those of this process
    share_gpu  it shares that GPU with the trainer
    extra      further arguments of vLLM's OpenAI server
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        gpu: str | None = None,
        share_gpu: bool = False,
        dtype: str | None = None,
        ngram: bool = True,
        extra: Sequence[str] = (),
    ) -> None:
        self._platform = this_platform()
        self.gpu, self._share_gpu = gpu, share_gpu
        self._settings: dict[str, Any] = {
            "platform": self._platform,
            "revision": revision,
            "dtype": dtype,
            "share_gpu": share_gpu,
            "ngram": ngram,
            "extra": [str(argument) for argument in extra],
        }
        self._model = model
        what = json.dumps([model, gpu, self._settings, sys.executable])
        name = hashlib.sha256(what.encode()).hexdigest()[:16]
        self.folder = Path(tempfile.gettempdir()) / f"online-rl-{os.getuid()}" / f"judge-{name}"
        self._users: IO[bytes] | None = None
        self._state = self.folder / "server.json"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def start(self) -> str:
        """The server's URL; it may still be loading its model (`alive` says whether it does)."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.folder.stat().st_uid != os.getuid():
            raise ConfigError(f"{self.folder} belongs to another user; set TMPDIR to a folder of your own.")
        with FileLock(self.folder / "start.lock"):
            self._users = (self.folder / "users").open("ab")
            os.register_at_fork(after_in_child=self.close)  # a forked worker must not keep the server alive
            fcntl.flock(self._users, fcntl.LOCK_SH)  # waits for a server that is just being stopped
            if not self._is_kept():
                self._begin()
            return str(json.loads(self._state.read_text())["url"])

    def _is_kept(self) -> bool:
        if not self._state.exists():
            return False
        with self._state.open("rb") as state:
            try:
                fcntl.flock(state, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False

    def _refuse_absent_gpu(self) -> None:
        """Raise ConfigError for an index beyond the machine's GPUs. They are nvidia-smi's: torch sees the trainer's."""
        listed = gpus_of_this_machine()
        if listed and self.gpu is not None and self.gpu.isdigit() and int(self.gpu) >= listed:
            raise ConfigError(
                f"judge server: gpu is {self.gpu!r}, and this machine has {listed} GPU(s), expected 0 to "
                f"{listed - 1}. Correct `server: {{gpu: ...}}`, or let the judge share one (place: shared)."
            )

    def _begin(self) -> None:
        self._refuse_absent_gpu()
        if self._platform == "gpu" and self.gpu is None and not self._share_gpu:
            LOG.warning(_UNPLACED)
        port = free_port()
        command = server_command(self._model, port=port, **self._settings)
        env = server_environment(os.environ, platform=self._platform, gpu=self.gpu, share_gpu=self._share_gpu)
        with self._state.open("w") as state, self.log.open("wb") as log:
            json.dump({"url": f"http://127.0.0.1:{port}", "command": command}, state)
            state.flush()
            fcntl.flock(state, fcntl.LOCK_EX)  # handed on to the keeper with the open file
            subprocess.Popen(
                [sys.executable, "-m", "judges.green.keeper", str(self.folder), *command],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[state.fileno()],
                start_new_session=True,  # Ctrl-C is for the trainer, which still needs scores to save
            )

    def alive(self) -> None:
        """Raises ConfigError when the server has ended."""
        if not self._is_kept():
            raise ConfigError(
                f"the judge server of {self._model!r} ended while it started; {self.log} says why. Correct the judge's "
                "args (model, server), or start one with launch/judge_server.sh and give its url."
            )

    def close(self) -> None:
        """This process needs the server no longer; the last one's goodbye ends it."""
        if self._users is not None:
            self._users.close()
            self._users = None


def gpus_of_this_machine() -> int:
    """Number of GPUs that nvidia-smi lists; 0 if it is not installed or fails."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def _die_with_parent() -> None:
    """Run in the server before it begins: ask the kernel for SIGTERM when the keeper is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def keep(folder: Path, command: list[str]) -> int:
    """Run `command` until nobody holds a lock on `users`, or until asked to stop; returns the server's exit code."""
    stop = False

    def on_signal(*_: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    server = subprocess.Popen(command, start_new_session=True, preexec_fn=_die_with_parent)
    with (folder / "users").open("ab") as users:
        while server.poll() is None and not stop:
            time.sleep(LOOK_S)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)  # kept to the end: whoever comes now waits
                stop = True
        return _end(server)


def _end(server: subprocess.Popen[bytes]) -> int:
    """Ask the server to end, then kill its process group, engine processes included."""
    with contextlib.suppress(ProcessLookupError):
        if server.poll() is None:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(GRACE_S)
        os.killpg(server.pid, signal.SIGKILL)
    return server.wait()


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1]), sys.argv[2:]))
