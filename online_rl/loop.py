"""The algorithm, as it is meant to be read: sample, score, learn, update, sync, log."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from online_rl import checkpoint
from online_rl.algorithms import Algorithm
from online_rl.config import Config
from online_rl.data.sampler import StudySampler
from online_rl.data.study import Study
from online_rl.errors import ConfigError, JudgeFailed, PolicyMismatch
from online_rl.evaluate import Evaluation, evaluate, write_samples
from online_rl.metrics import gather_groups, is_better_greater, summarise
from online_rl.monitor import Monitor
from online_rl.monitor.best_worst import best_and_worst
from online_rl.monitor.records import Record, read_records
from online_rl.policy.engine import Policy
from online_rl.ranks import collectives
from online_rl.ranks.watchdog import Watchdog
from online_rl.rollout.engine import RolloutEngine
from online_rl.rollout.parity import Parity
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.types import Rollouts
from online_rl.scoring import Asked, Scored, Scorer
from online_rl.scoring.adapt import adapt, judge_states, load_judge_states
from online_rl.scoring.stats import step_metrics

PATIENCE_S = 0.2  # scores that come within it are waited for


@dataclass
class Loop:
    """The parts of a run, and the steps that they take together. Build it with `online_rl.train.build`."""

    cfg: Config
    train_studies: list[Study]
    eval_studies: list[Study]
    builder: PromptBuilder
    sampler: StudySampler
    engine: RolloutEngine
    scorer: Scorer
    algorithm: Algorithm
    policy: Policy
    monitor: Monitor
    watchdog: Watchdog
    parity: Parity = field(default_factory=Parity)
    step: int = 0
    num_tokens: int = 0
    before: Evaluation | None = None
    best: checkpoint.Best | None = None
    exported_step: int | None = None
    stop_requested: bool = False

    def run(self) -> tuple[Evaluation, Evaluation] | None:
        """Train to the last step. Returns the evaluations before and after, or None when stopped on the way."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        if self.step == 0:
            self.before = self._evaluate("before")
        elif self._evaluation_is_due() and not self._was_evaluated():
            self._evaluate(f"step-{self.step}")  # a judge that failed, or a kill, came before its end
        first = self.step
        while self.step < self.cfg.train.max_steps:
            self._step()
            if self._save_is_due():
                self._save()
            if self._evaluation_is_due():
                self._evaluate(f"step-{self.step}")
            if self._must_stop(self.step - first):
                self._save()
                return None
        after = self._evaluate_at_end()
        assert self.before is not None
        return self.before, after

    def _step(self) -> None:
        step, cursor = self.step + 1, self.sampler.state_dict()
        started = time.perf_counter()
        rollouts, scores = self._sample_and_score(self._next_studies(), step, cursor, self._canaries_are_due(step))
        self._resample(rollouts, scores, step, cursor)
        batch = self.algorithm.learn_from(rollouts, scores.rewards)
        self.engine.sleep()
        self.scorer.sleep()
        scored = time.perf_counter()
        with self._phase("updating"):
            metrics = self.policy.update(batch, filler=rollouts.groups[0][0], step=step)
        self.parity.check(step, metrics.get("sampling/sampling_logp_difference/mean"))
        updated = time.perf_counter()
        self._sync()
        synced = time.perf_counter()
        self.step = step
        times = {"time/sync": synced - updated, "step_time": synced - started}
        times["time/update"] = updated - scored + scores.stats.ahead_seconds
        self._log(scores, metrics | times)

    def _log(self, scores: Scored, metrics: dict[str, float]) -> None:
        """Metrics over all ranks, and what depends on them: adapting length rules, too many unscorable candidates."""
        groups = gather_groups(scores.groups)
        metrics |= summarise(groups) | step_metrics(collectives.gather(scores.stats)) | scores.canaries.metrics()
        spent = sum(metrics[name] for name in ("time/generate", "time/judge_exposed", "time/update", "time/sync"))
        metrics["time/wait"] = max(0.0, metrics["step_time"] - spent)
        metrics["rollout/extra_studies"] = float(len(groups) - self.cfg.rollout.studies_per_step)
        candidates = [candidate for group in groups for candidate in group]
        tokens = sum(c["tokens"] + c["prompt_tokens"] for c in candidates)
        self.num_tokens += tokens
        metrics["num_tokens"] = float(self.num_tokens)
        metrics["perf/tokens_per_second"] = tokens / metrics["step_time"]
        metrics["perf/completions_per_second"] = len(candidates) / metrics["step_time"]
        self.monitor.log(self.step, metrics)
        rewards = [c["reward"] for c in candidates if c["reward"] is not None]
        self.monitor.log_histograms(
            self.step,
            {
                "reward": rewards,
                "length_tokens": [c["tokens"] for c in candidates],
                "verbosity": [c["verbosity"] for c in candidates],
            },
        )
        every = self.cfg.monitor.samples_every
        if self.cfg.monitor.tensorboard and every and self.step % every == 0:
            self.monitor.log_best_and_worst(self.step, best_and_worst(scores.groups))
        for warning in scores.canaries.warnings:
            self.monitor.warn(f"step {self.step}: {warning}")
        adapt(self.scorer.judges, groups)
        try:
            self.scorer.watch_unscorable(sum(c["unscorable"] for c in candidates), len(candidates))
        except JudgeFailed:  # on every rank, as all have seen the same groups
            self._save()
            raise

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        """What is being done, for the display and for the ranks that may have to wait for this one."""
        self.watchdog.beat(f"step {self.step + 1}, {name}")
        with self.monitor.phase(name):
            yield

    def _next_studies(self, count: int | None = None) -> list[Study]:
        """This rank's share of the next studies: those of a step, or `count` over all ranks."""
        indices = self.sampler.next_batch(count)
        ranks, rank = collectives.world_size(), collectives.rank()
        return [
            self.train_studies[i] for i in indices[len(indices) * rank // ranks : len(indices) * (rank + 1) // ranks]
        ]

    def _resample(self, rollouts: Rollouts, scores: Scored, step: int, cursor: dict[str, int]) -> None:
        """Sample further studies in the place of groups that teach nothing, for `algorithm.resample_rounds` at most.

        Everything sampled is added to `rollouts` and `scores`. How much depends on the rewards alone, so that a resumed
        run walks through the data as an uninterrupted one.
        """
        for _ in range(self.cfg.algorithm.resample_rounds):
            teaching = sum(self.algorithm.teaches(group) for group in scores.rewards)
            missing = self.cfg.rollout.studies_per_step - int(collectives.reduce_numbers([float(teaching)])[0])
            if missing <= 0:
                break
            more = self._sample_and_score(self._next_studies(missing), step, cursor)
            rollouts.extend(more[0])
            scores.extend(more[1])

    def _sample_and_score(
        self, studies: list[Study], step: int, cursor: dict[str, int], canaries: bool = False
    ) -> tuple[Rollouts, Scored]:
        """Candidates and what the judges say of them, who begin while others are still being sampled."""
        with self._phase("sampling and scoring"):
            with self._errors_told_to_all(cursor):
                prompts = self.builder.build_all(studies)
                rollouts = self.engine.generate(prompts, step, self.policy.version)
                asked = self.scorer.ask(rollouts, canaries)
            self._read_ahead(rollouts, asked)
            with self._errors_told_to_all(cursor):
                scores = self.scorer.scored(asked)
        return rollouts, scores

    def _read_ahead(self, rollouts: Rollouts, asked: Asked) -> None:
        """The ref_model reads candidates for as long as some rank's scores are on their way; every rank alike."""
        if self.policy.ref_model is None or not self.cfg.ref_model.read_ahead:
            return
        if self.cfg.algorithm.resample_rounds or not self._some_wait(asked, PATIENCE_S):  # or the engine may go on
            return
        self.engine.sleep()
        started = time.perf_counter()
        for _ in self.policy.read_ahead([c for group in rollouts.groups for c in group]):
            asked.busy_seconds = time.perf_counter() - started
            if not self._some_wait(asked, 0.0):
                break

    def _some_wait(self, asked: Asked, within: float) -> bool:
        return bool(collectives.reduce_numbers([float(not asked.done(within))], "max")[0])

    @contextmanager
    def _errors_told_to_all(self, cursor: dict[str, int]) -> Iterator[None]:
        """Nothing in here may wait for another rank: an error on one is told to all before any collective."""
        error: BaseException | None = None
        try:
            yield
        except Exception as problem:
            error = problem
        self._agree(error, cursor)

    def _agree(self, error: BaseException | None, cursor: dict[str, int] | None = None) -> None:
        """`collectives.agree`, saving first what was learnt when it was a judge that failed."""
        judge_failed = any(collectives.gather(isinstance(error, JudgeFailed)))
        if judge_failed and self.step > 0:
            self._save(cursor)
        collectives.agree(error)

    def _sync(self) -> None:
        """Live weights into vLLM, whose caches are dropped."""
        if self.engine.version == self.policy.version and not self.engine.asleep:
            return
        with self._phase("syncing weights"):
            self.engine.wake("weights")
            self.engine.load_weights(self.policy.trained_weights(), self.policy.version)
            if self.engine.must_verify:
                self._verify_sync()
            self.engine.wake("kv_cache")

    def _verify_sync(self) -> None:
        """Whether every engine holds every weight that it was sent; what one of them lacks, all are told."""
        error: BaseException | None = None
        try:
            self.engine.verify(self.policy.trained_weights())
        except PolicyMismatch as problem:
            error = problem
        collectives.agree(error)

    def _evaluate(self, name: str, log: bool = True) -> Evaluation:
        """Greedy reports of held-out studies. `log` is False where the policy is not that of the current step."""
        with self._phase(f"evaluating ({name})"):
            studies = self.eval_studies[: self.cfg.eval.studies]
            samples = self.cfg.monitor.samples
            evaluation = evaluate(self.engine, self.builder, self.scorer, studies, samples, self._agree)
        path = Path(self.cfg.run.dir) / "samples" / f"{name}.jsonl"
        try:
            write_samples(evaluation, path)
        except OSError as problem:  # on the first rank alone; the others go on
            self.monitor.warn(f"{path}: the samples cannot be written ({problem.strerror}). Training goes on.")
        if log:
            self.monitor.log_eval(self.step, evaluation.metrics)
            self.monitor.log_samples(self.step, evaluation.samples)
            self._keep_best(evaluation.metrics)
        return evaluation

    def _keep_best(self, metrics: dict[str, float]) -> None:
        """Save this step where it is the best so far by `eval.metric_for_best_model`; its checkpoint stays."""
        metric = self.cfg.eval.metric_for_best_model
        if metric is None or not metrics:
            return
        value = metrics.get(metric)
        if self.step == 0:  # the starting policy is no checkpoint
            if value is None:
                raise ConfigError(
                    f"eval.metric_for_best_model: found {metric!r}, which the first evaluation lacks; expected one of "
                    f"{', '.join(sorted(metrics))}. Correct it."
                )
            return
        if value is None or not math.isfinite(value):
            self.monitor.warn(f"step {self.step}: the evaluation has no {metric}, so it cannot be the best.")
        elif self.best is None or (value > self.best.value if self._greater_is_better() else value < self.best.value):
            self._save()
            self._name_best(checkpoint.Best(self.step, metric, value))

    def _name_best(self, best: checkpoint.Best | None) -> None:
        self.best = best
        checkpoint.name_best(Path(self.cfg.run.dir), best)
        if best:
            self.monitor.note(f"best so far: step {best.step}, {best.metric} {best.value:.4g}; its checkpoint is kept")

    def _greater_is_better(self) -> bool:
        given = self.cfg.eval.greater_is_better
        return is_better_greater(self.cfg.eval.metric_for_best_model or "") if given is None else given

    def _evaluate_at_end(self) -> Evaluation:
        """Of the policy that is exported: the last step's, or the best checkpoint's where that is asked for."""
        after = self._evaluate("after")
        self.exported_step = self.step
        if self.cfg.eval.load_best_model_at_end and self.best and self.best.step != self.step:
            self.exported_step = self.best.step
            self.policy.load(Path(self.cfg.run.dir) / "checkpoints" / f"step-{self.best.step}")
            self._sync()
            after = self._evaluate("after", log=False)
        return after

    def _evaluation_is_due(self) -> bool:
        every = self.cfg.eval.every
        return bool(every) and self.step % every == 0 and self.step < self.cfg.train.max_steps

    def _evaluations(self) -> list[Record]:
        """Those that metrics.jsonl has up to this step; rank 0 reads it for all."""
        path, records = Path(self.cfg.run.dir) / "metrics.jsonl", []
        if collectives.rank() == 0 and path.is_file():
            records = read_records(path, lambda r: r.get("eval") is True and 0 < r["step"] <= self.step)
        return collectives.gather(records)[0]

    def _was_evaluated(self) -> bool:
        return any(record["step"] == self.step for record in self._evaluations())

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Go on behind `found`: policy, optimiser, position in the data, and the engine's weights."""
        self.policy.load(found.folder)
        self.sampler.load_state_dict(found.state["sampler"])
        self.step, self.num_tokens = found.step, found.state["num_tokens"]
        self.before = Evaluation(found.state["before"], [])
        load_judge_states(self.scorer.judges, found.state.get("judges", {}))
        self.scorer.load_state_dict(found.state.get("scorer", {}))
        self.parity.before = found.state.get("parity")
        self._sync()
        metric = self.cfg.eval.metric_for_best_model
        if metric:
            best = checkpoint.best_of(Path(self.cfg.run.dir), self._evaluations(), metric, self._greater_is_better())
            self._name_best(collectives.gather(best)[0])

    def _save(self, cursor: dict[str, int] | None = None) -> None:
        with self._phase("saving"):
            assert self.before is not None
            state: dict[str, Any] = {
                "sampler": cursor or self.sampler.state_dict(),
                "num_tokens": self.num_tokens,
                "before": self.before.metrics,
                "judges": judge_states(self.scorer.judges),
                "model_is_local": Path(self.cfg.model.path).exists(),  # else its path is a name on the hub
                "scorer": self.scorer.state_dict(),
                "parity": self.parity.before,
            }
            checkpoint.save(Path(self.cfg.run.dir), self.step, self.policy, state, self.cfg)

    def _save_is_due(self) -> bool:
        return self.step % self.cfg.train.save_every == 0 or self.step == self.cfg.train.max_steps

    def _canaries_are_due(self, step: int) -> bool:
        """On the first rank, from the first step on."""
        every = self.cfg.scoring.canary_every
        return bool(every) and (step - 1) % every == 0 and collectives.rank() == 0

    def _must_stop(self, steps_taken: int) -> bool:
        """Whether a rank was told to stop, or this launch has taken the steps it may; the same answer on every rank."""
        limit = self.cfg.train.stop_after
        wanted = self.stop_requested or (limit is not None and steps_taken >= limit)
        return bool(collectives.reduce_numbers([float(wanted)], "max")[0]) and self.step < self.cfg.train.max_steps

    def _on_sigterm(self, *_: Any) -> None:
        """Go on to the end of the step, save, stop; a second signal ends the process at once."""
        self.stop_requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
