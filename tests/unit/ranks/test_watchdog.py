"""A rank that stands still is named by the one that waits for it, with stacks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from judges.network import free_port

ROOT = Path(__file__).resolve().parents[3]
RANK = textwrap.dedent(
    """
    import os, time
    from datetime import timedelta
    import torch.distributed as dist
    from online_rl.ranks import collectives
    from online_rl.ranks.watchdog import Watchdog

    dist.init_process_group("gloo", timeout=timedelta(seconds=30))
    dog = Watchdog(1.0)
    dog.beat("step 7, updating")
    collectives.barrier()
    if collectives.rank() == 1:
        dog.beat("step 8, sampling")
        dog.close()
        time.sleep(4)  # stands still
    else:
        dog.beat("step 8, syncing")

    def waits_for_the_other():
        collectives.barrier()

    waits_for_the_other()
    os._exit(0)  # as the trainer ends: gloo's threads may outlive the interpreter's own shutdown
    """
)


STANDS_STILL = textwrap.dedent(
    """
    import os, time
    from datetime import timedelta
    import torch, torch.distributed as dist
    from online_rl.ranks import collectives
    from online_rl.ranks.watchdog import Watchdog

    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    dog = Watchdog(1.0)
    dog.beat("step 7, updating")  # the same phase on every rank: what differs is the collective

    def in_code_of_the_users():
        time.sleep(7)

    for number in range(3):
        if collectives.rank() == 1 and number == 2:
            in_code_of_the_users()
        dist.all_reduce(torch.ones(4))
    os._exit(0)  # as the trainer ends
    """
)


def test_the_rank_that_the_others_wait_for_is_named_by_the_collective_that_it_does_not_come_to():
    told = run(STANDS_STILL, 3)
    report = told[0]
    assert "The other ranks wait for rank 1." in report
    assert re.search(r"rank 0: step 7, updating, \d+ s ago; waits for others", report)
    assert re.search(r"rank 1: step 7, updating, \d+ s ago; it is in <string>:\d+", report)
    assert "".join(told).count("The other ranks wait") == 1, "said once, not once per rank"
    for rank, said in enumerate(told):
        assert said.count(f"Stacks of rank {rank}:") == 1
    assert "in_code_of_the_users" in told[1]


def run(code: str, count: int) -> list[str]:
    """What each rank writes to stderr."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": str(count), "OMP_NUM_THREADS": "1"}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen([sys.executable, "-c", code], env={**env, "RANK": str(i)}, stderr=subprocess.PIPE, text=True)
        for i in range(count)
    ]
    told = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * count, told
    return told


def test_the_rank_that_waits_says_where_the_others_were_last_seen():
    told = run(RANK, 2)
    assert "rank 0 has not moved for 1 s" in told[0]
    assert re.search(r"rank 1: step 8, sampling, \d+ s ago", told[0])
    assert "waits_for_the_other" in told[0]  # the stack
    assert told[0].count("has not moved") == 1
    assert "has not moved" not in told[1]


ENDS = textwrap.dedent(
    """
    import threading
    from datetime import timedelta
    import torch.distributed as dist
    from online_rl.ranks.watchdog import Watchdog

    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    dog = Watchdog(0.01)
    asked = threading.Event()

    class Slow:  # the store of a loaded machine: the interpreter ends while the thread is inside
        def __init__(self, store):
            self._store = store

        def __getattr__(self, name):
            return getattr(self._store, name)

        def check(self, keys):
            asked.set()
            for _ in range(50):
                try:
                    self._store.wait(["never written"], timedelta(milliseconds=20))
                except dist.DistStoreError:
                    pass
            return self._store.check(keys)

    dog._store = Slow(dog._store)
    assert asked.wait(30)
    """
)


def test_a_run_that_ends_while_the_watchdog_asks_the_store_ends_well():
    run(ENDS, 1)
