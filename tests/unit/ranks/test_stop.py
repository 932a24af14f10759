"""Requests to stop, without a loop."""

from __future__ import annotations

import os
import signal
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
