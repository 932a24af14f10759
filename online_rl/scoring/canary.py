"""Canaries in the loop: cases whose order is known, sent to the judges beside a step's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from judges.base import Case, Judge, Status
from judges.canaries import canary_cases, wrong_order
from online_rl.errors import JudgeFailed, UserError
from online_rl.scoring.calls import Answer, Calls


@dataclass
class CanaryReport:
    """values: judge name -> kind -> value, None for what is unscorable; warnings: sentences for the user."""

    values: dict[str, dict[str, float | None]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def metrics(self) -> dict[str, float]:
        """`canary/<judge>/<kind>` -> value, for the canaries that were scored."""
        return {
            f"canary/{judge}/{kind}": value
            for judge, found in self.values.items()
            for kind, value in found.items()
            if value is not None
        }


class Canaries:
    """One step's canaries, made from the reference report of one of its studies; in flight from the start.

    judges  each with its weight in the reward: the order of values is compared for what is rewarded, turned round for a
            negative weight; a guard (0) has no direction, so its values are shown alone
    """

    def __init__(self, calls: Calls, judges: Sequence[tuple[Judge, float]], case: Case) -> None:
        cases = canary_cases(case)
        self._weights = {judge.name: weight for judge, weight in judges}
        self._waiting: list[tuple[str, list[str], Future[Answer]]] = []
        for judge, _ in judges:
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
            failed = [kind for kind, score in zip(kinds, scores, strict=True) if score.status is Status.FAILED]
            if failed:
                report.warnings.append(f"judge {name!r} could not score the canaries {', '.join(failed)}: out of reach")
            values |= {kind: s.value for kind, s in zip(kinds, scores, strict=True) if kind not in failed}
        for name, values in report.values.items():
            if weight := self._weights[name]:
                paid = {kind: value if value is None or weight > 0 else -value for kind, value in values.items()}
                wrong = wrong_order(paid)
                report.warnings += [f"judge {name!r}, canaries in the wrong order: {text}" for text in wrong]
        return report
