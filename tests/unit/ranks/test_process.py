"""One run at a time in a process, which is left as it was found."""

from __future__ import annotations

import itertools
import os
import signal
import threading

import pytest
import torch.distributed as dist

from online_rl.errors import ConfigError
from online_rl.ranks import process
from online_rl.ranks.process import sole_run


@pytest.fixture
def no_place(monkeypatch):
    for name in process.PLACE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(process, "_own_group", None)


def test_the_environment_and_the_signal_are_as_before(no_place, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    before = signal.getsignal(signal.SIGTERM)
    with sole_run():
        os.environ.update(RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1")
        signal.signal(signal.SIGTERM, lambda *_: None)
    assert "RANK" not in os.environ and "WORLD_SIZE" not in os.environ
    assert os.environ["MASTER_ADDR"] == "10.0.0.1"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_run_at_the_same_time_is_refused_and_a_later_one_is_not(no_place):
    told = []

    def second():
        try:
            with sole_run():
                pass
        except ConfigError as problem:
            told.append(str(problem))

    with sole_run():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "has not ended yet" in told[0] and "process of its own" in told[0]
    with pytest.raises(ZeroDivisionError), sole_run():
        _ = 1 / 0
    with sole_run():
        pass


def test_a_process_group_of_somebody_else_is_refused_and_an_own_one_ends(no_place, tmp_path):
    stores = (f"file://{tmp_path / 'store'}-{number}" for number in itertools.count())

    def start():
        dist.init_process_group("gloo", init_method=next(stores), rank=0, world_size=1)

    start()
    try:
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"up already \(gloo, 1 ranks\).*destroy_process_group"), sole_run():
                pass
    finally:
        dist.destroy_process_group()
    try:
        with sole_run():
            start()
        with sole_run():
            assert not dist.is_initialized(), "the ranks begin anew, all of them"
        start()
        with pytest.raises(ConfigError, match="up already"), sole_run():
            pass
    finally:
        dist.destroy_process_group()


def test_an_engine_that_a_failed_run_still_holds_ends_before_the_next_run(no_place, tmp_path):
    """As vLLM's does, it takes the process group along; freed later, it would take the next run's."""

    class Engine:
        def close(self):
            if dist.is_initialized():
                dist.destroy_process_group()

    held = None
    try:
        with sole_run():
            dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
            engine = Engine()
            process.will_end(engine)
            raise RuntimeError("mine")
    except RuntimeError as problem:
        held = problem
    assert held is not None and dist.is_initialized()
    with sole_run():
        assert not dist.is_initialized()
    assert not process._engines, "it is not asked twice"
