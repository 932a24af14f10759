"""The scorer: hands each completion to the judges as it finishes, and gives the step its rewards."""

from __future__ import annotations

import contextvars
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from judges.base import Case, Judge, Score, Status
from online_rl.config import Config
from online_rl.data.text import clean_report, count_words
from online_rl.errors import JudgeFailed
from online_rl.rollout.types import Completion, Rollouts
from online_rl.scoring.calls import call_judge


@dataclass(frozen=True)
class Candidate:
    """One completion with what was said of it.

    reward     weighted sum of the judges' values; None when unscorable, or masked because it was cut
    scores     judge name -> Score
    words      of the cleaned candidate
    verbosity  candidate words / reference words
    """

    completion: Completion
    reward: float | None
    scores: dict[str, Score]
    words: int
    verbosity: float


@dataclass
class Scored:
    """All groups of this rank's step, with where the time went (seconds)."""

    groups: list[list[Candidate]]
    generate_seconds: float
    exposed_seconds: float
    retries: int
    rewards: list[list[float | None]] = field(init=False)

    def __post_init__(self) -> None:
        self.rewards = [[c.reward for c in group] for group in self.groups]

    def candidates(self) -> list[Candidate]:
        return [c for group in self.groups for c in group]

    def extend(self, more: Scored) -> None:
        """Add the groups of further studies of the same step."""
        self.groups += more.groups
        self.rewards += more.rewards
        self.generate_seconds += more.generate_seconds
        self.exposed_seconds += more.exposed_seconds
        self.retries += more.retries


class Scorer:
    """Scores rollouts with every configured judge, in threads, while the engine still decodes.

    Judges whose `granularity` is "group" get the candidates of a study in one call, in order, when the last of them has
    finished; all others get each completion as soon as it is there.
    """

    def __init__(self, judges: Sequence[tuple[Judge, float]], cfg: Config) -> None:
        self.judges = list(judges)
        self.options = cfg.scoring
        self.pool = ThreadPoolExecutor(max_workers=cfg.scoring.workers, thread_name_prefix="judge")
        self._unscorable: deque[tuple[int, int]] = deque(maxlen=cfg.scoring.unscorable_window)

    def score(self, rollouts: Rollouts) -> Scored:
        """Read the rollouts through and judge them.

        Raises JudgeFailed (a judge out of reach or too slow), JudgeError (contract broken).
        """
        start = time.perf_counter()
        cases: dict[tuple[int, int], Case] = {}
        waiting: dict[int, int] = {}
        calls: list[tuple[str, list[tuple[int, int]], Future]] = []
        for completion in rollouts:
            key = (completion.group, completion.candidate)
            cases[key] = make_case(completion)
            waiting[completion.group] = waiting.get(completion.group, 0) + 1
            whole_group = waiting[completion.group] == rollouts.group_size
            for judge, _ in self.judges:
                if getattr(judge, "granularity", "completion") != "group":
                    calls.append(self._submit(judge, [key], cases))
                elif whole_group:
                    members = [(completion.group, i) for i in range(rollouts.group_size)]
                    calls.append(self._submit(judge, members, cases))
        generated = time.perf_counter()
        scores: dict[tuple[int, int], dict[str, Score]] = {key: {} for key in cases}
        retries = 0
        deadline = time.monotonic() + self.options.deadline_s
        for name, keys, future in calls:
            answers, again = self._wait(name, future, deadline)
            retries += again
            for key, answer in zip(keys, answers, strict=True):
                scores[key][name] = answer
        exposed = time.perf_counter() - generated
        groups = [[self._candidate(c, scores[c.group, c.candidate]) for c in group] for group in rollouts.groups]
        return Scored(groups, generated - start, exposed, retries)

    def _submit(self, judge: Judge, keys: list[tuple[int, int]], cases: dict) -> tuple[str, list, Future]:
        context = contextvars.copy_context()
        future = self.pool.submit(
            context.run, call_judge, judge, [cases[key] for key in keys], self.options.max_retries
        )
        return judge.name, keys, future

    def _wait(self, name: str, future: Future, deadline: float) -> tuple[list[Score], int]:
        try:
            return future.result(timeout=max(0.0, deadline - time.monotonic()))
        except FutureTimeout:
            self.pool.shutdown(wait=False, cancel_futures=True)
            raise JudgeFailed(
                f"judge {name!r} gave no answer within scoring.deadline_s={self.options.deadline_s:g} s after the "
                "last completion. Check the judge, or raise the deadline, and start again with resume=auto."
            ) from None

    def _candidate(self, completion: Completion, scores: dict[str, Score]) -> Candidate:
        words = count_words(clean_report(completion.text))
        verbosity = words / max(1, count_words(clean_report(completion.prompt.study.reference)))
        masked = completion.truncated and self.options.truncated == "mask"
        unread = any(s.status is not Status.SCORED for s in scores.values())
        reward = None if masked or unread else math.fsum(w * _value(scores[j.name]) for j, w in self.judges)
        return Candidate(completion, reward, scores, words, verbosity)

    def watch_unscorable(self, unscorable: int, total: int) -> None:
        """Raise JudgeFailed when, over the last steps of all ranks, too many answers could not be read."""
        self._unscorable.append((unscorable, total))
        bad, seen = (sum(column) for column in zip(*self._unscorable, strict=True))
        if bad / max(1, seen) > self.options.max_unscorable_rate:
            raise JudgeFailed(
                f"{bad} of the last {seen} candidates were unscorable, over scoring.max_unscorable_rate="
                f"{self.options.max_unscorable_rate:g}. No reward is made up for them; look at the judge's answers."
            )

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)


def _value(score: Score) -> float:
    assert score.value is not None  # Score guarantees it for a scored case
    return score.value


def make_case(completion: Completion) -> Case:
    """What the judges see: both reports cleaned in the same way."""
    study = completion.prompt.study
    return Case(
        study_id=study.study_id,
        candidate=clean_report(completion.text),
        reference=clean_report(study.reference),
        indication=study.indication,
        images=study.images,
        prompt=completion.prompt.text,
        completion_ids=completion.ids,
        columns=study.columns,
    )
