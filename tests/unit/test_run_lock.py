"""One run per folder: a second one is refused with who holds it, and what a dead one has left is taken over."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from online_rl.errors import ConfigError
from online_rl.run_lock import NAME, RunLock

HOLDS = """
import sys, time
from pathlib import Path
from online_rl.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path, root):
    """Another process that holds the lock of tmp_path/run."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path / "run")], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_a_second_run_is_told_host_process_and_time(tmp_path, other):
    (tmp_path / "run" / "checkpoints" / "step-3.partial").mkdir(parents=True)
    with pytest.raises(ConfigError) as refused:
        RunLock(tmp_path / "run")
    message = str(refused.value)
    assert str(other.pid) in message and socket.gethostname() in message
    since = json.loads((tmp_path / "run" / NAME).read_text())["since"]
    assert since in message and "another run.dir" in message
    assert (tmp_path / "run" / "checkpoints" / "step-3.partial").exists()


def test_the_lock_of_a_dead_run_is_taken_over(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / "run" / NAME).exists()
    lock = RunLock(tmp_path / "run")
    assert json.loads((tmp_path / "run" / NAME).read_text())["process"] == os.getpid()
    lock.close()


def test_it_is_free_again_afterwards_and_leaves_nothing(tmp_path):
    first = RunLock(tmp_path / "run")
    with pytest.raises(ConfigError, match="in use"):
        RunLock(tmp_path / "run")
    first.close()
    first.close()
    assert list((tmp_path / "run").iterdir()) == []
    RunLock(tmp_path / "run").close()


def test_a_lock_that_its_owner_removes_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Opened before the owner removed it, locked after: a third run would make a file of its own."""
    import fcntl

    owner, real = RunLock(tmp_path), fcntl.flock
    released = []

    def flock(handle, how):
        if not released:
            released.append(owner.close())
        real(handle, how)

    monkeypatch.setattr("online_rl.run_lock.fcntl.flock", flock)
    second = RunLock(tmp_path)
    with pytest.raises(ConfigError, match="in use"):
        RunLock(tmp_path)
    second.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"run.dir: .*file/run cannot be written \(Not a directory\)"):
        RunLock(tmp_path / "file" / "run")
