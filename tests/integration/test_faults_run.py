"""Faults of a real run on two ranks, started by launch/single_node.sh: outcome, seconds and message.

One run meets several faults in a row: a second run in its folder, a judge that is away, a killed rank.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from judges.network import free_port
from tests.integration.launch import CONFIG, ROOT, Started, environment, records, started

pytestmark = pytest.mark.long


@pytest.fixture
def log(work, request) -> Path:
    return work / "faults" / request.node.name.replace("/", "_")


def script(*settings: str) -> list[str]:
    return ["bash", str(ROOT / "launch" / "single_node.sh"), CONFIG, *settings]


def ranks(run: Started) -> list[psutil.Process]:
    """The trainer's processes, by rank."""
    found = [p for p in run.survivors() if any(word.startswith("--local_rank") for word in p.cmdline())]
    trainers = [p for p in found if "online_rl.train" in p.cmdline() and "deepspeed.launcher" not in str(p.cmdline())]
    return sorted(trainers, key=lambda p: str(p.cmdline()))


@pytest.mark.parametrize("after_s", [1.0, 12.0], ids=["launcher", "loading"])
def test_sigterm_before_the_first_step_ends_with_75_and_is_no_failure(log, small, after_s):
    with started(log, script(*small, f"run.dir={log}.run"), 2, RANKS="2") as run:
        time.sleep(after_s)
        run.terminate()
        finished = run.wait(30).ok(75)
    assert finished.seconds < after_s + 30
    said = finished.out + finished.err
    assert "stopping" in said and "continue with: bash" in said
    assert "Traceback" not in said and "error" not in finished.err.lower()


SMALL_DISK = """
mount -t tmpfs -o size=48m none "$1"
"${@:2}"
code=$?
df --output=avail "$1" | tail -n 1
cp -r "$1" "$1.kept"
exit $code
"""


def test_a_disk_that_fills_keeps_the_older_checkpoint_and_the_run_goes_on_from_it(log, small):
    """A real file system of 48 MB, seen by this launch alone, with room for one checkpoint and not for two."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets no user mount a file system of their own (unshare --user --mount)")
    run_dir, settings = Path(f"{log}.run"), [*small, "train.save_every=1"]
    run_dir.mkdir(parents=True)
    command = [*alone, "bash", "-c", SMALL_DISK, "bash", str(run_dir), *script(*settings, f"run.dir={run_dir}")]
    with started(log, command, 2, RANKS="2") as run:
        message = run.wait().refused("cannot be written", "GiB free", "Older checkpoints are untouched", code=2)
    assert "step-" in message or "checkpoints" in message
    kept = Path(f"{run_dir}.kept")
    taken = len(records(kept))
    assert 1 <= taken < 4
    names = [path.name for path in (kept / "checkpoints").iterdir()]
    assert len(names) == 1 and "partial" not in names[0], names
    with started(Path(f"{log}.again"), script(*settings, f"run.dir={kept}", "resume=auto"), 2, RANKS="2") as run:
        run.wait().ok()
    assert [line["step"] for line in records(kept)] == [1, 2, 3, 4]


class Server:
    """The findings judge behind judges.serve, which can be away for a while."""

    def __init__(self) -> None:
        self.port, self.process = free_port(), None
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "judges.serve", "--use", "findings", "--port", str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.stop()


def test_one_run_meets_a_second_one_an_absent_judge_and_a_killed_rank(log, small, server):
    run_dir = Path(f"{log}.run")
    judge = f"judges=[{{use: http, args: {{url: '{server.url}'}}}}]"
    settings = [*small, judge, "train.max_steps=200", "train.save_every=1000", f"run.dir={run_dir}"]
    with started(log, script(*settings), 2, RANKS="2") as run:
        run.wait_until(lambda: len(records(run_dir)) >= 1)

        second = [sys.executable, "-m", "online_rl.train", "--config", CONFIG, *settings, "resume=auto"]
        refused = subprocess.run(second, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120)
        assert refused.returncode == 2 and "in use by process" in refused.stderr, refused.stderr[-2000:]
        owner = json.loads((run_dir / ".lock").read_text())
        assert owner["process"] in {p.pid for p in ranks(run)} and str(owner["process"]) in refused.stderr

        before = len(records(run_dir))
        server.stop()
        time.sleep(8)
        server.start()
        run.wait_until(lambda: "answers again after" in run.text("out"), 60)
        assert "waiting for judge 'http' (" in run.text("out")
        run.wait_until(lambda: len(records(run_dir)) >= before + 2, 60)
        assert all(record["judge/failed_rate"] == 0 for record in records(run_dir))

        killed, start = ranks(run)[1], time.monotonic()
        os.kill(killed.pid, signal.SIGKILL)
        finished = run.wait(60).ok(137)
        seconds = time.monotonic() - start
    said = finished.out + finished.err
    assert f"rank 1 on {os.uname().nodename} (process {killed.pid}) ended without a word" in said
    assert "ended by signal 9" in said and "continue with: bash" in said
    assert "Traceback" not in said
    assert seconds < 30
