"""Where the servers of the judge `green` run: which GPU each rank's has, and what contradicts itself."""

from __future__ import annotations

import re

import pytest

from judges.errors import ConfigError
from judges.green import place as places
from judges.green.judge import GreenJudge

URL = "http://localhost:1"


@pytest.fixture
def machine(monkeypatch):
    """A machine with eight GPUs and `ranks` training ranks; this process is number `rank`."""

    def machine(visible: str = "", ranks: int = 0, rank: int = 0) -> None:
        for name, value in {
            "CUDA_VISIBLE_DEVICES": visible,
            "LOCAL_SIZE": str(ranks or ""),
            "LOCAL_RANK": str(rank),
        }.items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        monkeypatch.setattr(places, "this_platform", lambda: "gpu")
        monkeypatch.setattr(places, "gpus_of_this_machine", lambda: 8)

    return machine


def gpus(**args) -> list[str | None]:
    return [own.gpu for own in GreenJudge(cache=False, **args)._own]


@pytest.mark.parametrize(
    ("visible", "rank", "gpu"), [("", 0, "0"), ("", 7, "7"), ("4,5,6", 1, "5"), ("GPU-ab,GPU-cd", 1, "GPU-cd")]
)
def test_a_shared_server_lies_on_the_gpu_that_its_rank_trains_on(machine, visible, rank, gpu):
    machine(visible, ranks=8, rank=rank)
    assert gpus(place="shared") == [gpu]


def test_each_rank_has_a_server_of_its_own_and_all_its_requests(machine):
    folders, in_flight = set(), set()
    for rank in range(8):
        machine(ranks=8, rank=rank)
        judge = GreenJudge(cache=False, place="shared")
        folders.add(judge._own[0].folder)
        in_flight.add(judge._in_flight)
        assert judge._acts(), "nobody else tells it to sleep"
    assert len(folders) == 8 and in_flight == {64}


def test_own_gpus_have_a_server_each_which_all_ranks_share(machine):
    machine("0,1,2,3,4,5", ranks=6, rank=3)
    assert gpus(place="own_gpus", server={"gpu": "6, 7"}) == ["6", "7"]
    judge = GreenJudge(cache=False, place="own_gpus", server={"gpu": "6,7"}, in_flight=60)
    assert judge._in_flight == 10 and not judge.sleeps


@pytest.mark.parametrize("gpu", ["3", "7,0"])
def test_a_gpu_that_trains_is_not_given_away(machine, gpu):
    machine(ranks=4)
    with pytest.raises(ConfigError, match=r"one of the 4 GPU\(s\) that train here \(0, 1, 2, 3\).*place=shared"):
        gpus(place="own_gpus", server={"gpu": gpu})


def test_where_nothing_trains_any_gpu_will_do(machine):
    machine()
    assert gpus(server={"gpu": 0}) == ["0"]


def test_without_a_gpu_the_ranks_of_a_machine_share_one_server(monkeypatch):
    monkeypatch.setattr(places, "this_platform", lambda: "cpu")
    monkeypatch.setenv("LOCAL_RANK", "1")
    judge = GreenJudge(cache=False, place="shared")
    assert [own.gpu for own in judge._own] == [None] and not judge._acts()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"share_gpu": True}, "share_gpu is called place since 0.2; for share_gpu=True set place=shared"),
        ({"share_gpu": False, "url": URL}, "set place=own_gpus"),
        ({"place": "gpu 7"}, "place is 'gpu 7', expected own_gpus, shared, url"),
        ({"place": "url"}, "there is none; give url, or urls"),
        ({"place": "own_gpus", "url": URL}, "place is own_gpus beside a url"),
        ({"place": "shared", "server": {"gpu": "7"}}, "each rank has a server on its own GPU"),
        ({"server": {"gpus": "7"}}, "server holds gpus; expected gpu, dtype, ngram, extra"),
        ({"url": URL, "server": {"dtype": "float16"}}, "leave it or the url out"),
    ],
)
def test_what_contradicts_itself_is_refused(args, words):
    with pytest.raises(ConfigError, match=re.escape(words)):
        GreenJudge(cache=False, **args)


def test_servers_by_url_sleep_where_they_share(machine):
    machine(ranks=2, rank=1)
    judge = GreenJudge(cache=False, place="shared", url=URL)
    assert judge.sleeps and not judge._own and not judge._acts()
