"""Canaries in the loop: cases whose order is known, sent to the judges beside a step's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from judges.base import Case, Judge
from judges.canaries import canary_cases, wrong_order
from online_rl.errors import JudgeFailed, UserError
from online_rl.scoring.calls import Answer, Calls


@dataclass
class CanaryReport:
    """values: judge name -> kind -> value, of the canaries that were scored; warnings: sentences for the user."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        return {f"canary/{judge}/{kind}": v for judge, found in self.values.items() for kind, v in found.items()}


class Canaries:
    """One step's canaries, made from the reference report of one of its studies; in flight from the start."""

    def __init__(self, calls: Calls, judges: Sequence[Judge], case: Case) -> None:
        cases = canary_cases(case)
        self._waiting: list[tuple[str, list[str], Future[Answer]]] = []
        for judge in judges:
            together = getattr(judge, "granularity", "completion") == "group"
            for kinds in [list(cases)] if together else [[kind] for kind in cases]:
                self._waiting.append((judge.name, kinds, calls.submit(judge, [cases[kind] for kind in kinds])))

    def report(self, deadline: float) -> CanaryReport:
        """What came back until `deadline` (of `time.monotonic`). A canary never stops a run."""
        report = CanaryReport()
        for name, kinds, future in self._waiting:
            values = report.values.setdefault(name, {})
            try:
                scores = future.result(max(0.0, deadline - time.monotonic())).scores
            except (FutureTimeout, UserError, JudgeFailed) as problem:
                future.cancel()
                late = isinstance(problem, FutureTimeout)
                report.warnings.append(
                    f"judge {name!r} could not score the canaries {', '.join(kinds)}: "
                    f"{'no answer before the deadline' if late else problem}"
                )
                continue
            values |= {kind: s.value for kind, s in zip(kinds, scores, strict=True) if s.value is not None}
        for name, values in report.values.items():
            report.warnings += [f"judge {name!r}, canaries in the wrong order: {text}" for text in wrong_order(values)]
        return report
