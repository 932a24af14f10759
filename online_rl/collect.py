"""Collecting a step: studies are drawn, reports sampled, and judges answer while other reports still decode.

With `scoring.behind` 1 judges have longer, by one step:

    step 1   sample 1, sample 2   wait for the scores of 1   learn from 1
    step 2             sample 3   wait for the scores of 2   learn from 2
    step 3             sample 4   wait for the scores of 3   learn from 3
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from online_rl.ahead import Saved, read_ahead, rollouts_of, write_ahead
from online_rl.algorithms import Algorithm
from online_rl.config import Config
from online_rl.data.sampler import StudySampler, following
from online_rl.data.study import Study
from online_rl.metrics import Collected, gather_groups
from online_rl.monitor.step import Step
from online_rl.policy.engine import Policy
from online_rl.ranks import collectives
from online_rl.rollout.engine import RolloutEngine
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.types import Rollouts
from online_rl.scoring import Asked, Scored, Scorer
from online_rl.scoring.adapt import judge_states, load_judge_states

PATIENCE_S = 0.2  # scores that arrive within it are waited for


@dataclass(frozen=True)
class Position:
    """Where collecting stands: the place in the data, and what has been sampled of the next step already."""

    sampler: dict[str, int]
    ahead: Rollouts | Saved | None


@dataclass
class Collector:
    """Draws studies, samples a group of reports for each, and has them scored.

    studies     training studies, the same list on every rank
    policy      asked for its version, and for its ref_model's passes while scores are on their way
    num_tokens  prompt and completion tokens of all steps that ended
    """

    cfg: Config
    studies: Sequence[Study]
    sampler: StudySampler
    builder: PromptBuilder
    engine: RolloutEngine
    scorer: Scorer
    algorithm: Algorithm
    policy: Policy
    num_tokens: int = 0
    _step_start: Position | None = field(default=None, init=False)  # while a step is open
    _version: int = field(default=-1, init=False)  # of the policy then
    _staleness: int = field(default=0, init=False)  # updates since the open step's candidates were sampled
    _ahead: Asked | None = field(default=None, init=False)  # the next step's candidates and their calls
    _saved: Saved | None = field(default=None, init=False)  # the same, as a checkpoint held them

    def collect(self, step: Step) -> tuple[Rollouts, Scored]:
        """Return this rank's groups of the step and their scores; engine and judges sleep when it returns.

        Errors of one rank are raised on all: JudgeFailed (out of reach or too slow), JudgeError (contract broken),
        DataError (an image or a prompt), PolicyMismatch (the engine was not synced).
        """
        self._step_start, self._version = self._position(), self.policy.version
        with step.phase("sampling and scoring"):
            rollouts, scores = self._scored(self._next(step.number))
            self._staleness = self._version - rollouts.version
            self._within_budget(scores)
            self._resample(rollouts, scores, step.number)
        with collectives.together():  # no rank begins the update while a judge or an engine holds memory
            self.engine.sleep()
            self.scorer.sleep()
        if step.number < self.cfg.train.max_steps:
            self.builder.prepare(self._share(self.sampler.peek()))  # images are decoded while the policy learns
        return rollouts, scores

    @property
    def policy_is_whole(self) -> bool:
        """Whether the policy is that of the last complete step: no step is open, or none of its updates is made."""
        return self._step_start is None or self.policy.version == self._version

    def end_step(self, scores: Scored) -> Collected:
        """Move on in the data, and return what all ranks collected in the step."""
        self._step_start = None
        groups = gather_groups(scores.groups)
        if self.sampler.watches_groups:
            self.sampler.note_groups(self._taught(scores))
        self.num_tokens += sum(r["tokens"] + r["prompt_tokens"] for group in groups for r in group)
        calls, more = collectives.gather(scores.stats), self.sampler.metrics() | scores.canaries.metrics()
        if self.cfg.scoring.behind:
            more["sampling/staleness"] = float(self._staleness)
        return Collected(groups, calls, more, self.num_tokens)

    def after_step(self, collected: Collected) -> None:
        """Let length rules adapt to the step, and stop if too many candidates were unscorable. Raises JudgeFailed."""
        self.scorer.after_step(collected.groups)

    def next_studies(self, count: int | None = None) -> list[Study]:
        """Return this rank's share of the next studies: those of a step, or `count` over all ranks."""
        return self._share(self.sampler.next_batch(count))

    def _share(self, indices: Sequence[int]) -> list[Study]:
        return [self.studies[i] for i in collectives.run_of(indices)]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps. While a step is open, the data's position is that of the step's start."""
        return {
            "sampler": self._position().sampler,
            "num_tokens": self.num_tokens,
            "judges": judge_states(self.scorer.judges),
            "scorer": self.scorer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises CheckpointError if the data or the seed is another."""
        self.sampler.load_state_dict(state["sampler"])
        self.num_tokens = state["num_tokens"]
        load_judge_states(self.scorer.judges, state.get("judges", {}), "judges" in self.cfg.resume_allow)
        self.scorer.load_state_dict(state.get("scorer", {}))

    def save_files(self, folder: Path) -> None:
        """Write what was sampled ahead into a checkpoint, beside `state_dict`. Every rank calls it."""
        write_ahead(self._position().ahead, folder)

    def load_files(self, folder: Path) -> None:
        """Go on with what was sampled ahead when the checkpoint was written."""
        self._saved = read_ahead(folder)

    def _position(self) -> Position:
        if self._step_start is not None:
            return self._step_start
        return Position(self.sampler.state_dict(), self._ahead.rollouts if self._ahead else self._saved)

    def _next(self, step: int) -> Asked:
        """The step's candidates, on their way through the judges, and with `scoring.behind` those of the next as well.

        They are sampled before this step's scores are waited for, by the policy that this step has not updated yet.
        """
        early = self._early(step)
        asked = early or self._ask(self.next_studies(), step, self._canaries_due(step))
        if not self.cfg.scoring.behind:
            return asked
        sampled = [] if early else [asked]
        if step < self.cfg.train.max_steps:
            self._ahead = self._ask(self.next_studies(), step + 1, self._canaries_due(step + 1))
            sampled.append(self._ahead)
        asked.wait_from_now(sum(one.generate_seconds for one in sampled))
        return asked

    def _early(self, step: int) -> Asked | None:
        """The step's candidates if they were sampled in the step before; scored anew after a resume."""
        early, saved, self._ahead, self._saved = self._ahead, self._saved, None, None
        if early or saved is None:
            return early
        with collectives.together():
            rollouts = rollouts_of(saved, self.studies, self.builder.build_all)
            return self.scorer.ask(rollouts, self._canaries_due(step))

    def _ask(self, studies: Sequence[Study], step: int, canaries: bool, resampled: int = 0) -> Asked:
        with collectives.together():
            prompts = self.builder.build_all(studies, self._behind(studies))
            rollouts = self.engine.generate(prompts, step, self.policy.version, resampled)
            return self.scorer.ask(rollouts, canaries)

    def _behind(self, studies: Sequence[Study]) -> Iterator[Study]:
        """Training studies behind the last of these. Its place is looked up when one is needed, which is rare."""
        yield from following(self.studies, self._places[studies[-1].study_id])

    def _scored(self, asked: Asked) -> tuple[Rollouts, Scored]:
        self._read_ahead(asked.rollouts, asked)
        with collectives.together():
            return asked.rollouts, self.scorer.scored(asked)

    def _resample(self, rollouts: Rollouts, scores: Scored, step: int) -> None:
        """Sample further studies in place of groups that teach nothing, for `algorithm.resample_rounds` at most.

        Everything sampled is added to `rollouts` and `scores`. How much is sampled depends on the rewards alone, so
        that a resumed run walks through the data as an uninterrupted one would.
        """
        for number in range(1, 1 + self.cfg.algorithm.resample_rounds):
            teaching = sum(self.algorithm.teaches(group) for group in scores.rewards)
            missing = self.cfg.rollout.studies_per_step - int(collectives.reduce_numbers([float(teaching)])[0])
            if missing <= 0:
                break
            more_rollouts, more_scores = self._scored(self._ask(self.next_studies(missing), step, False, number))
            rollouts.extend(more_rollouts)
            scores.extend(more_scores)
            self._within_budget(scores)

    def _within_budget(self, scores: Scored) -> None:
        """Raise JudgeFailed on every rank if judges could not be reached for too many of the step's candidates."""
        lost, candidates = collectives.reduce_numbers([float(scores.stats.failed), float(scores.stats.candidates)])
        if self.scorer.too_many_lost(lost, candidates):
            collectives.agree(scores.out_of_reach)

    def _taught(self, scores: Scored) -> dict[int, bool]:
        """Whether the groups of each study of the step, over all ranks, taught anything. One with fewer than two scored
        candidates says nothing of its study; of two groups of a study, one that teaches is enough."""
        mine = [
            (group[0].completion.prompt.study.study_id, self.algorithm.teaches(rewards))
            for group, rewards in zip(scores.groups, scores.rewards, strict=True)
            if sum(reward is not None for reward in rewards) > 1
        ]
        taught: dict[int, bool] = {}
        for study_id, anything in (pair for part in collectives.gather(mine) for pair in part):
            place = self._places[study_id]
            taught[place] = taught.get(place, False) or anything
        return taught

    @cached_property
    def _places(self) -> dict[str, int]:
        return {study.study_id: place for place, study in enumerate(self.studies)}

    def _read_ahead(self, rollouts: Rollouts, asked: Asked) -> None:
        """Run the ref_model's passes as long as some rank waits for scores; every rank runs equally many."""
        if self.policy.ref_model is None or not self.cfg.debug.read_ahead:
            return
        if self.cfg.algorithm.resample_rounds or not self._some_wait(asked, PATIENCE_S):  # or the engine may be needed
            return
        with collectives.together():
            self.engine.sleep()
        started = time.perf_counter()
        for _ in self.policy.read_ahead([c for group in rollouts.groups for c in group]):
            asked.busy_seconds = time.perf_counter() - started
            if not self._some_wait(asked, 0.0):
                break

    def _some_wait(self, asked: Asked, within: float) -> bool:
        return bool(collectives.reduce_numbers([float(not asked.done(within))], "max")[0])

    def _canaries_due(self, step: int) -> bool:
        """Whether this rank sends canaries with the step: the first rank does, from the first step on."""
        every = self.cfg.scoring.canary_every
        return bool(every) and (step - 1) % every == 0 and collectives.rank() == 0
