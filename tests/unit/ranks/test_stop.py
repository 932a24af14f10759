"""Requests to stop, without a loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from online_rl.ranks import collectives
from online_rl.ranks.stop import StopRequest


@pytest.fixture
def handler():
    """SIGTERM as it was, afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_asks_for_a_stop_and_the_second_one_is_the_systems_again(handler):
    stop = StopRequest()
    stop.listen()
    assert not stop.wanted(5)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wanted(5)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_launch_takes_no_more_steps_than_it_may():
    stop = StopRequest(stop_after=3)
    assert [stop.wanted(taken) for taken in (1, 2, 3, 4)] == [False, False, True, True]


def test_what_one_rank_was_told_stops_all(monkeypatch):
    monkeypatch.setattr(collectives, "reduce_numbers", lambda mine, op: [max(*mine, 1.0)])  # another rank was told
    assert StopRequest().wanted(1)


def test_listening_in_another_thread_leaves_the_handler_alone(handler):
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=StopRequest().listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


TRAINS = """
import os, signal, sys, time
from online_rl.ranks.signals import end_on_signals
end_on_signals()
if "listen" in sys.argv:
    from online_rl.ranks.stop import StopRequest, code_of_stop
    stop = StopRequest()
    stop.listen()
print("ready", flush=True)
while "listen" not in sys.argv or not stop.requested:
    time.sleep(0.02)
print("saving", flush=True)
if "slowly" in sys.argv:
    time.sleep(30)
os._exit(code_of_stop())
"""


@pytest.fixture
def trains(root):
    """Start a process with the trainer's handlers; returns it once it is ready."""
    processes = []

    def trains(*words: str, before=None) -> subprocess.Popen:
        command = [sys.executable, "-c", TRAINS, *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes.append(subprocess.Popen(command, cwd=root, preexec_fn=before, **pipes))
        assert processes[-1].stdout.readline() == "ready\n"
        return processes[-1]

    yield trains
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGHUP, 75), (signal.SIGINT, 130)])
@pytest.mark.parametrize("words", [(), ("listen",)])
def test_every_signal_ends_with_its_code_before_and_while_steps_are_taken(trains, sent, code, words):
    process = trains(*words)
    process.send_signal(sent)
    out, err = process.communicate(timeout=10)
    assert process.returncode == code
    assert ("saving" in out) == bool(words) and ("nothing to save" in err) != bool(words)


STUCK = """
import sqlite3
from online_rl.ranks.signals import end_on_signals
end_on_signals()
print("ready", flush=True)
endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
sqlite3.connect(":memory:").execute(endless).fetchone()
"""


def test_a_call_that_never_returns_does_not_keep_a_rank(root):
    """As in a collective to which another rank, which has ended, does not come."""
    env = os.environ | {"WORLD_SIZE": "2"}
    process = subprocess.Popen([sys.executable, "-c", STUCK], cwd=root, stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 75
    finally:
        process.kill()
        process.communicate()


def test_the_same_signal_again_ends_at_once_and_another_one_does_not(trains):
    process = trains("listen", "slowly")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "saving\n"
    process.send_signal(signal.SIGTERM)  # what a launcher sends after Ctrl-C has reached everybody
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == -signal.SIGINT


def test_nohup_stays_nohup(trains):
    process = trains(before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
