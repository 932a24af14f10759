"""A rank that cannot write reaches DeepSpeed's barriers all the same, and then says so."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from judges.network import free_port
from online_rl.policy.deepspeed import errors_after_barriers


class Writer:
    def __init__(self, broken: str) -> None:
        self.broken, self.files = broken, []

    def save(self, content: str, path: str) -> None:
        if path == self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.files.append(path)


class Engine:
    def __init__(self, broken: str) -> None:
        self.checkpoint_engine = Writer(broken)
        self.barriers = 0

    def _copy_recovery_script(self, folder: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def save_checkpoint(self) -> None:
        """In DeepSpeed's order."""
        self.checkpoint_engine.save("weights", "model.pt")
        self.barriers += 1
        self.checkpoint_engine.save("states", path="optimizer.pt")
        self._copy_recovery_script("folder")
        self.barriers += 1


@pytest.mark.parametrize("broken", ["model.pt", "optimizer.pt"])
def test_the_error_comes_after_the_last_barrier(broken):
    engine = Engine(broken)
    with pytest.raises(OSError, match="No space"), errors_after_barriers(engine):
        engine.save_checkpoint()
    assert engine.barriers == 2
    with pytest.raises(OSError, match="No space"):  # the engine is as it was
        engine.checkpoint_engine.save("weights", broken)


def test_nothing_is_raised_where_everything_was_written():
    engine = Engine("")
    with errors_after_barriers(engine):
        engine.save_checkpoint()
    assert engine.checkpoint_engine.files == ["model.pt", "optimizer.pt"]


MEETS = """
import sys
import psutil
from online_rl.config import config_from_dict
from online_rl.policy.deepspeed import init_ranks
from online_rl.ranks import collectives

init_ranks(config_from_dict({}))
import deepspeed.comm
assert deepspeed.comm.get_world_size() == 2 == sum(collectives.gather(1))
print(sorted({c.laddr.ip for c in psutil.Process().net_connections() if c.status == "LISTEN"}), flush=True)
collectives.barrier()
"""


def test_ranks_of_one_machine_meet_where_no_other_machine_reaches_them(root):
    """Left to itself, torch listens on every interface."""
    env = {**os.environ, "PYTHONPATH": str(root), "DS_ACCELERATOR": "cpu", "WORLD_SIZE": "2", "LOCAL_SIZE": "2"}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", MEETS],
            env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        out, err = rank.communicate(timeout=600)
        assert rank.returncode == 0 and out.splitlines()[-1] == "['127.0.0.1']", err[-2000:]
