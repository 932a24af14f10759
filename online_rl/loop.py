"""The algorithm as it is meant to be read aloud: collect, learn, update, sync, log."""

from __future__ import annotations

from dataclasses import dataclass

from online_rl.algorithms import Algorithm
from online_rl.checkpoint import Checkpoint, Checkpoints
from online_rl.collect import Collector
from online_rl.config import Config
from online_rl.errors import Collapsed
from online_rl.evaluate import Evaluation, Evaluator
from online_rl.metrics import step_metrics
from online_rl.monitor import Monitor
from online_rl.policy.engine import Policy
from online_rl.price_check import PriceCheck
from online_rl.ranks.stop import StopRequest
from online_rl.ranks.watchdog import Watchdog
from online_rl.rollout.sync import WeightSync
from online_rl.run_lock import RunLock
from online_rl.save_after import save_after


@dataclass
class Loop:
    """The parts of a run and the steps that they take together. `online_rl.build.build` makes one.

    lock           held on the run folder by the first rank
    prices         what cheap strategies earn, told once after the first evaluation; None: it is not asked for
    step           optimiser steps taken so far
    exported_step  the step whose policy is exported; None before the end
    """

    cfg: Config
    collector: Collector
    algorithm: Algorithm
    policy: Policy
    weights: WeightSync
    evaluator: Evaluator
    checkpoints: Checkpoints
    monitor: Monitor
    stop: StopRequest
    watchdog: Watchdog | None = None
    lock: RunLock | None = None
    prices: PriceCheck | None = None
    step: int = 0
    exported_step: int | None = None

    def one_step(self) -> None:
        """Sample a group of reports per study, score them, learn, and give the engine the new weights."""
        with self.monitor.step(self.step + 1) as step:  # times the phases and beats the watchdog
            rollouts, scores = self.collector.collect(step)  # judges answer while other reports still decode
            batch = self.algorithm.learn_from(rollouts, scores.rewards)  # advantages, or pairs
            with step.phase("updating"):
                metrics = self.policy.update(batch, step.number)  # ZeRO-3 passes, then AdamW
            with step.phase("syncing weights"):
                self.weights.sync(step.number, metrics)  # live weights into vLLM, compared with what was sent
        self.step = step.number
        collected = self.collector.end_step(scores)  # the records of all ranks; the data moves on
        metrics |= step_metrics(collected, step.seconds, self.cfg.rollout.studies_per_step)
        self.monitor.log_step(self.step, scores, collected.groups, metrics)
        self.collector.after_step(collected)  # length rules adapt; unscorable candidates are watched
        self.monitor.tell_caller(self.step, metrics)

    def run(self) -> tuple[Evaluation, Evaluation] | None:
        """Train to the last step. Returns the evaluations before and after, or None if stopped on the way."""
        try:
            return self._train()
        except BaseException as problem:
            if self.step > 0 and self.collector.policy_is_whole:  # before the first step there is nothing to save
                save_after(problem, self._save, self.step, self.monitor)
            raise

    def _train(self) -> tuple[Evaluation, Evaluation] | None:
        first, last = self.step, self.cfg.train.max_steps
        if self.step == 0 or self.evaluator.is_missing(self.step):
            self._evaluate("before" if self.step == 0 else f"step-{self.step}")
        if self.step == 0 and self.prices:
            self.prices.run()
        self.stop.listen()  # until here there is nothing to save, so that a signal ends the run at once
        while self.step < last:
            self.one_step()
            stops = self.stop.wanted(self.step - first) and self.step < last
            if stops or self.step % self.cfg.train.save_every == 0 or self.step == last:
                self._save()
            if stops:  # before an evaluation, which may take minutes; the run that resumes makes up for it
                return None
            if self.evaluator.is_due(self.step):
                self._evaluate(f"step-{self.step}")
        if self.stop.wanted(0):  # the last step is saved
            return None
        after = self._evaluate_at_end()
        assert self.evaluator.before is not None
        return self.evaluator.before, after

    def _evaluate(self, name: str) -> Evaluation:
        evaluation = self.evaluator.evaluate(self.step, name)
        if self.evaluator.is_best(self.step, evaluation.metrics):
            self._save()
            self._name_best()
        if self.evaluator.rang and self.cfg.monitor.stop_on_collapse and self.step < self.cfg.train.max_steps:
            self._save()
            raise Collapsed(
                f"step {self.step}: {self.evaluator.rang[-1]} The run is saved and stops, as monitor.stop_on_collapse "
                "is true; resume=auto continues it."
            )
        return evaluation

    def _evaluate_at_end(self) -> Evaluation:
        """Evaluate the policy that will be exported: the last step's, or the best checkpoint's if configured."""
        after = self._evaluate("after")
        self.exported_step, best = self.step, self.evaluator.best
        if self.cfg.eval.load_best_model_at_end and best and best.step != self.step:
            self.exported_step = best.step
            self.policy.load(self.checkpoints.folder(best.step))
            self.weights.sync()
            after = self.evaluator.evaluate(best.step, "after", log=False)
        return after

    def _save(self) -> None:
        with self.monitor.phase("saving"):
            self.checkpoints.save(self.step)

    def _name_best(self) -> None:
        best = self.evaluator.best
        self.checkpoints.name_best(best)
        if best:
            self.monitor.note(f"best so far: step {best.step}, {best.metric} {best.value:.4g}; its checkpoint is kept")

    def restore(self, found: Checkpoint) -> None:
        """Continue from `found`: policy and optimiser, position in the data, judges, and the engine's weights."""
        self.checkpoints.load(found)
        self.step = found.step
        with self.monitor.phase("syncing weights"):
            self.weights.sync()
        self.evaluator.remember_alarms(self.step)
        if self.evaluator.find_best(self.step):
            self._name_best()

    def close(self) -> None:
        """End what runs alongside the steps, and release the run folder. Calling it again does nothing."""
        self.collector.scorer.close()
        self.monitor.close()
        for part in (self.watchdog, self.lock):
            if part is not None:
                part.close()
