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
    import time
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
    """
)


def test_the_rank_that_waits_says_where_the_others_were_last_seen():
    env = {**os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK], env={**env, "RANK": str(i)}, stderr=subprocess.PIPE, text=True)
        for i in range(2)
    ]
    told = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], told
    assert "rank 0 has not moved for 1 s" in told[0]
    assert re.search(r"rank 1: step 8, sampling, \d+ s ago", told[0])
    assert "waits_for_the_other" in told[0]  # the stack
    assert told[0].count("has not moved") == 1
    assert "has not moved" not in told[1]
