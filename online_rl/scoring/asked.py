"""Candidates whose judges are at work: whether they are done, and the wait for them."""

from __future__ import annotations

import time
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from dataclasses import dataclass, field

from judges.base import Case, Judge
from online_rl.errors import JudgeFailed
from online_rl.rollout.types import Rollouts
from online_rl.scoring.calls import Answer
from online_rl.scoring.canary import Canaries, CanaryReport

Key = tuple[int, int]  # (group, candidate)


@dataclass
class Asked:
    """The calls of one rank's step.

    calls             (judge, the candidates that it was given, its answer)
    canaries          where some were due
    generated         when nothing was left but to wait for scores, on time.perf_counter(): at the last candidate, or
                      later where another step was sampled meanwhile
    generate_seconds  spent on sampling until then
    busy_seconds      what the caller has done since then instead of waiting
    """

    rollouts: Rollouts
    cases: dict[Key, Case] = field(default_factory=dict)
    calls: list[tuple[Judge, list[Key], Future[Answer]]] = field(default_factory=list)
    canaries: Canaries | None = None
    generated: float = 0.0
    generate_seconds: float = 0.0
    busy_seconds: float = 0.0

    def done(self, within: float) -> bool:
        """Wait at most this many seconds; return whether all calls have ended."""
        return not wait([future for _, _, future in self.calls], timeout=within).not_done

    def wait_from_now(self, generate_seconds: float) -> None:
        """Count only from now on as a wait for scores: until now the step has spent so long on sampling."""
        self.generated, self.generate_seconds = time.perf_counter(), generate_seconds

    def cancel(self) -> None:
        """Give up what has not begun; what has ended is not touched."""
        for _, _, future in self.calls:
            future.cancel()

    def wait(self, deadline_s: float) -> tuple[list[Answer], CanaryReport, float]:
        """The answers in the order of the calls, the canaries' report, and the seconds that nothing else hid.

        Raises JudgeFailed if one takes longer than `deadline_s` from now, and whatever a judge raised.
        """
        try:
            deadline = time.monotonic() + deadline_s
            answers = self._answers(deadline_s)
            report = self.canaries.report(deadline) if self.canaries else CanaryReport()
            return answers, report, time.perf_counter() - self.generated - self.busy_seconds
        finally:
            self.cancel()

    def _answers(self, deadline_s: float) -> list[Answer]:
        """The first error ends the wait."""
        futures = [future for _, _, future in self.calls]
        done, late = wait(futures, timeout=deadline_s, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
        if late:
            judge = next(judge for judge, _, future in self.calls if future in late)
            raise JudgeFailed(
                f"judge {judge.name!r} gave no answer within scoring.deadline_s={deadline_s:g} s after the last "
                "completion. Check the judge, or raise the deadline, and start again with resume=auto."
            )
        return [future.result() for future in futures]
