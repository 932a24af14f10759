"""A batch of cases as the questions that an LLM is asked: each of them once, those about one study together.

Shared by the judges that put every case to a model behind a server (`green`, `rubric`).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeVar

from judges.base import Case, Score
from judges.green.cache import ScoreCache, default_folder
from judges.green.client import Client, all_or_first_error


@dataclass
class Question:
    """What a model is asked about one pair of reports, and the places in the batch that wait for the score.

    key  a hash of everything that the score depends on
    """

    reference: str
    candidate: str
    key: str
    places: list[int] = field(default_factory=list, kw_only=True)
    score: Score | None = field(default=None, kw_only=True)


Q = TypeVar("Q", bound=Question)


class Questions(Generic[Q]):
    """Finds the questions of a batch, answers from the cache those whose score is known, and has the others asked.

    cache    whether scores are kept on disk; in `cache_dir`, by default ~/.cache/online-rl/judges
    numbers  counts since the last `drain`
    """

    def __init__(self, cache: bool, cache_dir: str | Path | None) -> None:
        self.numbers: Counter[str] = Counter()
        self._folder = (Path(os.path.expanduser(cache_dir)) if cache_dir else default_folder()) if cache else None
        self._cache: ScoreCache | None = None

    def open(self) -> None:
        if self._folder:
            self._cache = ScoreCache(self._folder)

    def close(self) -> None:
        if self._cache:
            self._cache.close()

    async def scores(
        self, cases: Sequence[Case], prepare: Callable[[Case], Score | Q], ask: Callable[[list[Q]], Awaitable[None]]
    ) -> list[Score]:
        """A score per case, in order.

        prepare  the question that a case is, or its score, where nobody has to be asked
        ask      fills in the scores of one study's questions
        """
        begin = time.perf_counter()
        scores: list[Score | None] = [None] * len(cases)
        studies: dict[str, dict[str, Q]] = {}
        for place, case in enumerate(cases):
            prepared = prepare(case)
            if isinstance(prepared, Score):
                scores[place] = prepared
            else:
                study = studies.setdefault(prepared.reference, {})
                study.setdefault(prepared.key, prepared).places.append(place)
        await all_or_first_error([self._answer(list(study.values()), ask) for study in studies.values()])
        seconds = (time.perf_counter() - begin) / max(1, len(cases))
        for question in (question for study in studies.values() for question in study.values()):
            assert question.score is not None
            self.numbers["duplicates_saved"] += len(question.places) - 1
            for place in question.places:
                scores[place] = replace(question.score, seconds=seconds)
        return [score for score in scores if score is not None]

    async def _answer(self, questions: list[Q], ask: Callable[[list[Q]], Awaitable[None]]) -> None:
        for question in questions:
            question.score = self._cache.get(question.key) if self._cache else None
        new = [question for question in questions if question.score is None]
        self.numbers["cache_hits"] += len(questions) - len(new)
        if not new:
            return
        await ask(new)
        for question in new:
            if self._cache and question.score is not None:
                self._cache.put(question.key, question.score)

    def drain(self, client: Client | None, *always: str) -> dict[str, float]:
        """Counts since the last call, with those of `client`; the names in `always` are there even if they are 0."""
        if client:
            client.drain(self.numbers)
        if self._cache:
            self.numbers["cache_damaged"] += self._cache.damaged
            self._cache.damaged = 0
        names = {"requests", "cache_hits", "duplicates_saved", "injection_hits", *always}
        numbers = {name: float(self.numbers[name]) for name in {*names, *self.numbers}}
        self.numbers.clear()
        return numbers
