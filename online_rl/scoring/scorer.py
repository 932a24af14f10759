"""The scorer: hands each completion to the judges as it finishes, and gives the step its rewards."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from judges.base import Judge, Score, Status
from judges.border import border
from judges.composite import Blend, Term
from judges.green.neutralise import neutralise
from judges.text import clean_report, count_words
from online_rl.config import Config
from online_rl.errors import JudgeFailed
from online_rl.rollout.types import Completion, Rollouts
from online_rl.scoring.adapt import adapt
from online_rl.scoring.asked import Asked, Key
from online_rl.scoring.calls import Calls, drain, out_of_reach
from online_rl.scoring.canary import Canaries, CanaryReport
from online_rl.scoring.cases import make_case
from online_rl.scoring.stats import CallStats

UNCLOSED = "the completion is reasoning to its end, and holds no report"
UNSCORABLE_WINDOW = 20  # steps over which `scoring.max_unscorable_rate` is taken


@dataclass(frozen=True)
class Candidate:
    """One completion with what was said of it.

    reward     weighted sum of the judges' values; None when a judge has none, or masked because it was cut
    scores     judge name -> Score
    guards     guard name -> Score; in no reward, unless a gate reads it
    masked     its reward is None because it was cut, not because a judge could not score it
    injections  places where the text as sampled speaks as a judge or a user: headers, chat markers, code fences
    words      of the cleaned candidate
    verbosity  candidate words / reference words
    """

    completion: Completion
    reward: float | None
    scores: dict[str, Score]
    words: int
    verbosity: float
    guards: dict[str, Score] = field(default_factory=dict)
    masked: bool = False
    injections: int = 0


@dataclass
class Scored:
    """All groups of this rank's step, what the calls took, and the canaries where some were due.

    rewards       what the algorithm learns from: the candidates' rewards, normalised per judge where the config says so
    out_of_reach  what to raise if more candidates were lost than `scoring.max_failed_rate` allows; None if none was
    """

    groups: list[list[Candidate]]
    stats: CallStats
    canaries: CanaryReport
    out_of_reach: JudgeFailed | None = None
    rewards: list[list[float | None]] = field(init=False)

    def __post_init__(self) -> None:
        self.rewards = [[c.reward for c in group] for group in self.groups]

    def candidates(self) -> list[Candidate]:
        return [c for group in self.groups for c in group]

    def extend(self, more: Scored) -> None:
        """Add the groups of further studies of the same step."""
        self.groups += more.groups
        self.rewards += more.rewards
        self.stats = self.stats.followed_by(more.stats)
        self.out_of_reach = self.out_of_reach or more.out_of_reach


class Scorer:
    """Scores rollouts with every configured judge while the engine still decodes.

    Judges whose `granularity` is "group" get the candidates of a study in one call, in order, when the last of them has
    finished; all others get each completion as soon as it is there.
    """

    def __init__(
        self,
        judges: Sequence[tuple[Judge, float]],
        cfg: Config,
        guards: Sequence[Judge] = (),
        blend: Blend | None = None,
    ) -> None:
        self.judges = [*judges, *((guard, 0.0) for guard in guards)]
        self.guards = {guard.name for guard in guards}
        self.blend = blend or Blend([Term(judge.name, weight) for judge, weight in judges])
        self.options = cfg.scoring
        self.calls = Calls(cfg.scoring)
        self._unscorable: deque[tuple[int, int]] = deque(maxlen=UNSCORABLE_WINDOW)
        self._closed = False

    def start(self) -> None:
        """Let every judge check its server and start what it needs. Raises ConfigError or JudgeFailed."""
        for judge, _ in self.judges:
            self.calls.start(judge)

    def score(self, rollouts: Rollouts) -> Scored:
        """Read the rollouts through and judge them, to measure them: reports that were cut count as they are.

        Raises JudgeFailed (a judge out of reach or too slow), JudgeError (contract broken).
        """
        scored = self.scored(self.ask(rollouts), masks=False)
        if scored.out_of_reach and self.too_many_lost(scored.stats.failed, scored.stats.candidates):
            raise scored.out_of_reach
        return scored

    def too_many_lost(self, lost: float, candidates: float) -> bool:
        """Whether more candidates went without an answer than `scoring.max_failed_rate` allows."""
        return lost > self.options.max_failed_rate * candidates

    def ask(self, rollouts: Rollouts, canaries: bool = False) -> Asked:
        """Read the rollouts through and hand them to the judges, whose answers `scored` waits for.

        Judges that sleep wake while the first reports decode. When this returns they are awake, so that the engine may
        go to sleep: vLLM's checks that no memory of the GPU was taken meanwhile, by whatever process.
        """
        start = time.perf_counter()
        asked = Asked(rollouts)
        waiting: dict[int, int] = {}
        self.calls.most_in_flight()
        waking = [self.calls.beside(judge.wake) for judge, _ in self.judges if hasattr(judge, "wake")]
        try:
            for completion in rollouts:
                key = (completion.group, completion.candidate)
                prompt = completion.prompt
                asked.cases[key] = make_case(prompt.study, completion.text, prompt.text, completion.ids)
                if canaries and asked.canaries is None:  # first in the queue: most of the step still decodes
                    judges = [(j, weight) for j, weight in self.judges if getattr(j, "orders_canaries", True)]
                    asked.canaries = Canaries(self.calls, judges, asked.cases[key])
                waiting[completion.group] = waiting.get(completion.group, 0) + 1
                whole_group = waiting[completion.group] == rollouts.group_size
                for judge, _ in self.judges:
                    keys = [key]
                    if getattr(judge, "granularity", "completion") == "group":
                        if not whole_group:
                            continue
                        keys = [(completion.group, i) for i in range(rollouts.group_size)]
                    asked.calls.append((judge, keys, self.calls.submit(judge, [asked.cases[k] for k in keys])))
            for woken in waking:
                woken.result()
        except BaseException:
            asked.cancel()
            raise
        asked.generated = time.perf_counter()
        asked.generate_seconds = asked.generated - start
        return asked

    def scored(self, asked: Asked, masks: bool = True) -> Scored:
        """Wait for the answers, and put them together. Raises as `score` does, except for candidates that are lost:
        whether these are too many is for all ranks to say.

        masks  whether `scoring.truncated: mask` takes reports that were cut out of what is learned from
        """
        answers, report, exposed = asked.wait(self.options.deadline_s)
        scores: dict[Key, dict[str, Score]] = {key: {} for key in asked.cases}
        for (judge, keys, _), answer in zip(asked.calls, answers, strict=True):
            for key, score in zip(keys, answer.scores, strict=True):
                scores[key][judge.name] = score
        for completion in (c for group in asked.rollouts.groups for c in group if c.unclosed):
            found = scores[completion.group, completion.candidate]
            found.update((name, Score.unscorable(UNCLOSED)) for name in list(found))
        groups = [
            [self._candidate(c, scores[c.group, c.candidate], masks) for c in group] for group in asked.rollouts.groups
        ]
        stats = CallStats(
            generate_seconds=asked.generate_seconds,
            exposed_seconds=exposed,
            ahead_seconds=asked.busy_seconds,
            latencies=[answer.seconds for answer in answers],
            in_flight=self.calls.most_in_flight(),
            retries=sum(answer.retries for answer in answers),
            failed=sum(_is_lost(found) for found in scores.values()),
            candidates=len(asked.cases),
            drained={f"judge/{j.name}/{key}": value for j, _ in self.judges for key, value in drain(j).items()},
        )
        scored = Scored(groups, stats, report, self._out_of_reach(scores))
        scored.rewards = [self._learned(group) for group in groups]
        return scored

    def _out_of_reach(self, scores: dict[Key, dict[str, Score]]) -> JudgeFailed | None:
        """The error for the first judge that could not be reached for some candidate."""
        for judge, _ in self.judges:
            found = [answers[judge.name] for answers in scores.values()]
            if any(s.status is Status.FAILED for s in found):
                return out_of_reach(judge, found, self.options)
        return None

    def _candidate(self, completion: Completion, scores: dict[str, Score], masks: bool) -> Candidate:
        words = count_words(clean_report(completion.text))
        verbosity = words / max(1, count_words(clean_report(completion.prompt.study.reference)))
        masked = masks and completion.truncated and self.options.truncated == "mask"
        reward = None if masked else self.blend.reward(scores)
        judged = {name: score for name, score in scores.items() if name not in self.guards}
        guards = {name: score for name, score in scores.items() if name in self.guards}
        injections = neutralise(completion.text).hits
        return Candidate(completion, reward, judged, words, verbosity, guards, masked, injections)

    def _learned(self, group: Sequence[Candidate]) -> list[float | None]:
        return self.blend.learned([None if c.masked else {**c.scores, **c.guards} for c in group])

    def after_step(self, groups: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """Let the judges' length rules adapt, then watch how many candidates were unscorable.

        groups  the records of every group of every rank, so that all ranks do the same. Raises JudgeFailed.
        """
        adapt(self.judges, groups)
        candidates = [candidate for group in groups for candidate in group]
        self.watch_unscorable(sum(c["unscorable"] for c in candidates), len(candidates))

    def watch_unscorable(self, unscorable: int, total: int) -> None:
        """Raise JudgeFailed when, over the last steps of all ranks, too many answers could not be read."""
        self._unscorable.append((unscorable, total))
        bad, seen = (sum(column) for column in zip(*self._unscorable, strict=True))
        if bad / max(1, seen) > self.options.max_unscorable_rate:
            self._unscorable.clear()  # a run that resumes with a mended judge is given a whole window
            raise JudgeFailed(
                f"{bad} of the last {seen} candidates were unscorable, over scoring.max_unscorable_rate="
                f"{self.options.max_unscorable_rate:g}. No reward is made up for them. `online-rl doctor` "
                "tries each judge on the data's own reports and says what it cannot read; else answers are cut short."
            )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the window over which unscorable candidates are counted."""
        return {"unscorable": list(self._unscorable)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._unscorable.clear()
        self._unscorable.extend((bad, seen) for bad, seen in state.get("unscorable", ()))

    def sleep(self) -> None:
        """Tell judges on GPUs that train as well that all ranks have their scores. Raises JudgeFailed."""
        for judge, _ in self.judges:
            if hasattr(judge, "sleep"):
                with border(f"judge {judge.name!r}", "sleep()"):
                    judge.sleep()

    def close(self) -> None:
        """Give up what still runs and close the judges; takes bounded time, and nothing the second time."""
        if not self._closed:
            self._closed = True
            for judge, _ in self.judges:
                self.calls.close_judge(judge)
            self.calls.close()


def _is_lost(scores: Mapping[str, Score]) -> bool:
    """Whether some judge could not be reached for this candidate."""
    return any(score.status is Status.FAILED for score in scores.values())
