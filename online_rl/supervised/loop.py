"""The supervised stage as it is meant to be read aloud: read reference reports, learn, log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from online_rl.algorithms.likelihood import TOKENS, batch_of
from online_rl.checkpoint import Checkpoint, Checkpoints
from online_rl.config import Config
from online_rl.monitor import Monitor
from online_rl.policy.supervised import SupervisedPolicy
from online_rl.ranks.stop import StopRequest
from online_rl.ranks.watchdog import Watchdog
from online_rl.run_lock import RunLock
from online_rl.save_after import save_after
from online_rl.supervised.held_out import HeldOut
from online_rl.supervised.lessons import Lessons

Results = tuple[dict[str, float], dict[str, float]]  # held-out metrics before and after


@dataclass
class SupervisedLoop:
    """The parts of a supervised run and the steps that they take together. `supervised.build.build` makes one.

    cfg   the stage's configuration, see `stage_config`
    step  optimiser steps taken so far
    """

    cfg: Config
    lessons: Lessons
    policy: SupervisedPolicy
    held_out: HeldOut
    checkpoints: Checkpoints
    monitor: Monitor
    stop: StopRequest
    watchdog: Watchdog | None = None
    lock: RunLock | None = None
    step: int = 0

    def one_step(self) -> None:
        """Learn from the reference reports of the next studies."""
        with self.monitor.step(self.step + 1) as step:
            with step.phase("reading studies"):
                reports = self.lessons.next()
            with step.phase("updating"):
                metrics = self.policy.update(batch_of(reports), step.number)
        self.step = step.number
        tokens, seconds = metrics[TOKENS], step.seconds["step"]
        metrics |= self.lessons.end_step(tokens)
        metrics |= {"step_time": seconds, "time/update": step.seconds["updating"]}
        metrics |= {"time/wait": seconds - step.seconds["updating"], "perf/tokens_per_second": tokens / seconds}
        self.monitor.log(self.step, metrics)

    def run(self) -> Results | None:
        """Train to the last step. Returns the held-out metrics before and after, or None if stopped on the way."""
        try:
            return self._train()
        except BaseException as problem:
            # Each step is one update, so the policy is that of the last complete step unless it has been made.
            if self.step > 0 and (not self.lessons.step_is_open or self.policy.version == self.step):
                save_after(problem, self._save, self.step, self.monitor)
            raise

    def _train(self) -> Results | None:
        first, last = self.step, self.cfg.train.max_steps
        if self.step == 0:
            self.held_out.measure(0, "before")
        self.stop.listen()  # until here there is nothing to save, so that a signal ends the run at once
        while self.step < last:
            if self.stop.wanted(self.step - first):
                self._save_if_begun()
                return None
            self.one_step()
            every = self.cfg.eval.every
            if every and self.step % every == 0 and self.step < last:
                self.held_out.measure(self.step, f"step-{self.step}")
            if self.step % self.cfg.train.save_every == 0 or self.step == last:
                self._save()
        if self.stop.wanted(0):  # the last step is saved
            return None
        return self.held_out.before, self.held_out.measure(self.step, "after")

    def _save_if_begun(self) -> None:
        if self.step:
            self._save()

    def _save(self) -> None:
        with self.monitor.phase("saving"):
            self.checkpoints.save(self.step)

    def restore(self, found: Checkpoint) -> None:
        """Continue from `found`: policy and optimiser, position in the data, the first evaluation."""
        self.checkpoints.load(found)
        self.step = found.step

    @property
    def run_dir(self) -> Path:
        return Path(self.cfg.run.dir)

    def close(self) -> None:
        """End what runs alongside the steps, and release the run folder. Calling it again does nothing."""
        self.monitor.close()
        for part in (self.watchdog, self.lock):
            if part is not None:
                part.close()
