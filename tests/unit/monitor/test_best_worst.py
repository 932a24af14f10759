"""The best and the worst report of a step, over ranks."""

import threading

import pytest
from PIL import Image

from judges.base import Score
from online_rl.monitor.best_worst import IMAGE_SIDE, best_and_worst
from online_rl.ranks import collectives
from online_rl.rollout.types import Completion, Prompt
from online_rl.scoring.scorer import Candidate


@pytest.fixture
def candidate(make_study):
    def make(reward, text="", image=None):
        images = (image or Image.new("RGB", (64, 48)),)
        prompt = Prompt(make_study(f"study of {text}"), "", images, (1,), {})
        completion = Completion(0, 0, prompt, (1,), (0.0,), text, truncated=False)
        scores = {"findings": Score(0.5, parts={"missing_finding": 2.0})}
        return Candidate(completion, reward, scores, words=1, verbosity=0.5)

    return make


def on_ranks(monkeypatch, groups_of):
    """What every rank gets, each in a thread of its own; they meet in `gather` as processes do."""
    here, meet = threading.local(), threading.Barrier(len(groups_of), timeout=10)
    slots, results = [None] * len(groups_of), [None] * len(groups_of)

    def gather(value):
        slots[here.rank] = value
        meet.wait()
        values = list(slots)
        meet.wait()
        return values

    monkeypatch.setattr(collectives, "gather", gather)
    monkeypatch.setattr(collectives, "rank", lambda: here.rank)

    def run(rank):
        here.rank = rank
        results[rank] = best_and_worst(groups_of[rank])

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(groups_of))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_the_extremes_of_all_ranks_reach_every_rank(monkeypatch, candidate):
    mine = [[candidate(0.5, "middle"), candidate(None, "unscorable")], [candidate(0.25, "worst")]]
    other = [[candidate(0.5, "tie"), candidate(0.75, "best")]]
    unscored = [[candidate(None, "nothing")]]
    results = on_ranks(monkeypatch, [mine, unscored, other])
    for found in results:
        assert {name: sample["candidate"] for name, sample in found.items()} == {"best": "best", "worst": "worst"}
    best = results[0]["best"]
    assert best["reward"] == 0.75 and best["study_id"] == "study of best" and best["image"].size == (64, 48)
    assert best["scores"] == {"findings": {"value": 0.5, "missing_finding": 2.0}}


def test_of_equal_rewards_the_first_counts(candidate):
    found = best_and_worst([[candidate(0.5, "first"), candidate(0.5, "second")]])
    assert found["best"]["candidate"] == found["worst"]["candidate"] == "first"


def test_where_nothing_was_scored_there_is_nothing_to_show(monkeypatch, candidate):
    assert on_ranks(monkeypatch, [[[candidate(None, "a")]], []]) == [{}, {}]


def test_a_large_image_travels_small_and_stays_whole_where_it_is(candidate):
    image = Image.new("RGB", (4000, 2000))
    found = best_and_worst([[candidate(0.5, "a", image)]])
    assert found["best"]["image"].size == (IMAGE_SIDE, IMAGE_SIDE // 2) and image.size == (4000, 2000)
