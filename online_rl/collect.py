"""Collecting a step: studies are drawn, reports sampled, and judges answer while other reports still decode."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from online_rl.algorithms import Algorithm
from online_rl.config import Config
from online_rl.data.sampler import StudySampler
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
    _step_start: dict[str, int] | None = field(default=None, init=False)  # the data's position while a step is open
    _version: int = field(default=-1, init=False)  # of the policy then

    def collect(self, step: Step) -> tuple[Rollouts, Scored]:
        """Return this rank's groups of the step and their scores; engine and judges sleep when it returns.

        Errors of one rank are raised on all: JudgeFailed (out of reach or too slow), JudgeError (contract broken),
        DataError (an image or a prompt), PolicyMismatch (the engine was not synced).
        """
        self._step_start, self._version = self.sampler.state_dict(), self.policy.version
        with step.phase("sampling and scoring"):
            rollouts, scores = self._sample_and_score(self.next_studies(), step.number, self._canaries_due(step.number))
            self._resample(rollouts, scores, step.number)
        with collectives.together():  # no rank begins the update while a judge or an engine holds memory
            self.engine.sleep()
            self.scorer.sleep()
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
        calls, canaries = collectives.gather(scores.stats), scores.canaries.metrics()
        return Collected(groups, calls, canaries, self.num_tokens, self.sampler.metrics())

    def after_step(self, collected: Collected) -> None:
        """Let length rules adapt to the step, and stop if too many candidates were unscorable. Raises JudgeFailed."""
        self.scorer.after_step(collected.groups)

    def next_studies(self, count: int | None = None) -> list[Study]:
        """Return this rank's share of the next studies: those of a step, or `count` over all ranks."""
        indices = self.sampler.next_batch(count)
        ranks, rank = collectives.world_size(), collectives.rank()
        return [self.studies[i] for i in indices[len(indices) * rank // ranks : len(indices) * (rank + 1) // ranks]]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps. While a step is open, the data's position is that of the step's start."""
        return {
            "sampler": self._step_start or self.sampler.state_dict(),
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

    def _sample_and_score(self, studies: Sequence[Study], step: int, canaries: bool) -> tuple[Rollouts, Scored]:
        with collectives.together():
            prompts = self.builder.build_all(studies)
            rollouts = self.engine.generate(prompts, step, self.policy.version)
            asked = self.scorer.ask(rollouts, canaries)
        self._read_ahead(rollouts, asked)
        with collectives.together():
            scores = self.scorer.scored(asked)
        return rollouts, scores

    def _resample(self, rollouts: Rollouts, scores: Scored, step: int) -> None:
        """Sample further studies in place of groups that teach nothing, for `algorithm.resample_rounds` at most.

        Everything sampled is added to `rollouts` and `scores`. How much is sampled depends on the rewards alone, so
        that a resumed run walks through the data as an uninterrupted one would.
        """
        for _ in range(self.cfg.algorithm.resample_rounds):
            teaching = sum(self.algorithm.teaches(group) for group in scores.rewards)
            missing = self.cfg.rollout.studies_per_step - int(collectives.reduce_numbers([float(teaching)])[0])
            if missing <= 0:
                break
            more_rollouts, more_scores = self._sample_and_score(self.next_studies(missing), step, canaries=False)
            rollouts.extend(more_rollouts)
            scores.extend(more_scores)

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
