"""What ranks tell each other, with one rank and with two real ones."""

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from online_rl.errors import JudgeFailed
from online_rl.metric_types import Mean, over_ranks
from online_rl.ranks import collectives


def test_one_rank_alone():
    assert (collectives.rank(), collectives.world_size()) == (0, 1)
    assert collectives.gather({"a": 1}) == [{"a": 1}]
    assert collectives.reduce_numbers([1.0, 2.0]) == [1.0, 2.0]
    assert over_ranks([{"loss": Mean(6.0, 4.0), "never": Mean(0.0, 0.0)}]) == {"loss": 1.5}
    collectives.barrier()
    collectives.agree(None)
    with pytest.raises(KeyError, match="mine"):
        collectives.agree(KeyError("mine"))


def two_ranks(rank, folder, results):
    """Runs in a process of its own."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    counted = {"loss": Mean(1.0 + rank, 1.0)} | ({"only_1": Mean(3.0, 2.0)} if rank == 1 else {})
    answers = {
        "gather": collectives.gather(f"rank {rank}"),
        "sum": collectives.reduce_numbers([1.0 + rank, 10.0]),
        "max": collectives.reduce_numbers([1.0 + rank, -rank], "max"),
        "sums": over_ranks([counted]),
    }
    collectives.agree(None)
    try:
        collectives.agree(ValueError("row 7") if rank == 1 else None)
    except Exception as error:
        answers["error"] = (type(error).__name__, str(error))
    try:
        with collectives.together():
            raise JudgeFailed("gone") if rank == 1 else ValueError("row 3")
    except Exception as error:
        answers["judge"] = (type(error).__name__, str(error), getattr(error, "judge_failed", None))
    try:
        with collectives.met_by_all():
            raise KeyError("of gathered numbers")
    except KeyError as error:
        answers["met"] = (collectives.is_met_by_all(error), collectives.is_met_by_all(KeyError("of one rank")))
    results[rank] = answers
    dist.destroy_process_group()


def test_two_ranks(tmp_path):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(two_ranks, (str(tmp_path), results), nprocs=2)
        first, second = results[0], results[1]
    for answers in (first, second):
        assert answers["gather"] == ["rank 0", "rank 1"]
        assert answers["met"] == (True, False), "a step is saved after what all ranks raise, and after nothing else"
        assert answers["sum"] == [3.0, 20.0] and answers["max"] == [2.0, 0.0]
        assert answers["sums"] == {"loss": 1.5, "only_1": 1.5}
    assert second["error"] == ("ValueError", "row 7")
    assert first["error"] == ("RankFailed", "rank 1 stopped: ValueError: row 7")
    assert second["judge"] == ("JudgeFailed", "gone", None)
    assert first["judge"] == ("RankFailed", "rank 1 stopped: JudgeFailed: gone", True), "so that every rank saves"
