"""Honest judges: they read the candidate and score it; some are slow, out of reach for a while, or broken."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable

import pytest

from judges.base import Case, Score
from online_rl.config.model import Config, Scoring
from online_rl.rollout.types import Rollouts
from online_rl.scoring import Scorer
from online_rl.scoring.calls import Calls


def words_of(text: str) -> float:
    """What the judges below say: the number of words."""
    return float(len(text.split()))


class WordCount:
    """Scores at once."""

    def __init__(self, name: str = "words") -> None:
        self.name = name

    def score(self, cases: list[Case]) -> list[Score]:
        return [Score(words_of(case.candidate)) for case in cases]


class RandomDelay(WordCount):
    """Answers after a random while, so that calls overtake each other."""

    def score(self, cases: list[Case]) -> list[Score]:
        time.sleep(random.random() * 0.02)
        return super().score(cases)


class AsyncWordCount(WordCount):
    async def score(self, cases: list[Case]) -> list[Score]:  # type: ignore[override]
        await asyncio.sleep(0.001)
        return [Score(words_of(case.candidate)) for case in cases]


class OutOfReach(WordCount):
    """Fails the first `times` times that a candidate is asked for."""

    def __init__(self, times: int, name: str = "remote") -> None:
        super().__init__(name)
        self.times = times
        self.asked: dict[str, int] = {}
        self.lock = threading.Lock()

    def score(self, cases: list[Case]) -> list[Score]:
        return [self.one(case) for case in cases]

    def one(self, case: Case) -> Score:
        with self.lock:
            self.asked[case.candidate] = self.asked.get(case.candidate, 0) + 1
            reachable = self.asked[case.candidate] > self.times
        return Score(words_of(case.candidate)) if reachable else Score.failed("HTTP 503")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Retries wait milliseconds instead of seconds."""
    monkeypatch.setattr("online_rl.scoring.patience.FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("online_rl.scoring.patience.LONGEST_PAUSE_S", 0.002)


@pytest.fixture
def judges():
    """The judge classes of this file."""
    from types import SimpleNamespace

    return SimpleNamespace(
        WordCount=WordCount, RandomDelay=RandomDelay, AsyncWordCount=AsyncWordCount, OutOfReach=OutOfReach
    )


@pytest.fixture
def make_scorer():
    """A scorer of (judge, weight) pairs, with the given keys of section `scoring`.

    Made past the rule that a deadline outlasts a call with its retries, which would make the tests wait.
    """
    made: list[Scorer] = []

    def make(*pairs, **options) -> Scorer:
        cfg = Config(scoring=Scoring(**{"canary_every": 0, **options}))
        made.append(Scorer(pairs, cfg))
        return made[-1]

    yield make
    for scorer in made:
        scorer.close()


@pytest.fixture
def make_calls():
    """Calls with the given keys of section `scoring`."""
    made: list[Calls] = []

    def make(**options) -> Calls:
        made.append(Calls(Scoring(**options)))
        return made[-1]

    yield make
    for calls in made:
        calls.close()


@pytest.fixture
def make_rollouts(make_completion, make_study) -> Callable[..., Rollouts]:
    """Groups of candidates given as texts; they finish in a shuffled order."""

    def make(*groups: list[str], shuffle: int = 0, **fields) -> Rollouts:
        completions = [
            make_completion(
                group=g,
                candidate=i,
                text=text,
                study=make_study(f"s{g}", reference="four words of reference"),
                **fields,
            )
            for g, group in enumerate(groups)
            for i, text in enumerate(group)
        ]
        random.Random(shuffle).shuffle(completions)
        return Rollouts(completions, len(groups), len(groups[0]), version=0)

    return make
