"""`FindingsJudge`: GREEN's error taxonomy by rules, fast enough for every step of a run on a CPU.

Both reports are parsed into findings (present or absent, doubtful, side, zone, severity, comparison); the counts of
GREEN (Ostmeier et al., Findings of EMNLP 2024) follow from comparing them, and

    value = matched findings / (matched findings + errors (a) to (f)),   0 when nothing matches.

The negation algorithm is ConText's idea (Harkema et al., 2009, doi:10.1016/j.jbi.2009.05.002) over one word trie.
medspacy implements ConText in full, but reads about 200 reports a second and pins numpy 1.26, against which vLLM's
environment clashes; negspacy needs spaCy as well. A training step scores hundreds of candidates.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from judges.base import Case, Score
from judges.errors import JudgeError
from judges.findings.compare import Comparative
from judges.findings.reading import NOT_READ, CaseReader


class FindingsJudge:
    """Deterministic and without weights: the default judge on a CPU, the guard metric beside GREEN on a GPU.

    normal_weight      what a matched normal statement counts beside a matched finding. 1 is GREEN's formula; there a
                       report that calls everything normal scores well on sick patients too, because most statements of
                       a reference are normal, and reinforcement learning finds that report. Less takes that away.
    cached_references  parsed references to keep; the candidates of a group share theirs
    """

    name = "findings"

    def __init__(self, normal_weight: float = 1.0, cached_references: int = 4096) -> None:
        if not 0 < normal_weight <= 1:
            raise JudgeError(f"findings: normal_weight is {normal_weight!r}, expected above 0 and at most 1.")
        self.normal_weight = normal_weight
        self._reader = CaseReader(cached_references)

    def score(self, cases: Sequence[Case]) -> list[Score]:
        return [self._score(case) for case in cases]

    def _score(self, case: Case) -> Score:
        started = time.perf_counter()
        read = self._reader.read(case)
        if read is None:
            return Score.unscorable(NOT_READ)
        _, result = read
        return Score(
            value=result.value(self.normal_weight),
            parts=_parts(result),
            detail=_analysis(result),
            seconds=time.perf_counter() - started,
        )


def _parts(result: Comparative) -> dict[str, float]:
    return {
        **{name: float(len(entities)) for name, entities in result.errors.items()},
        "matched_findings": float(len(result.matched)),
        "matched_normal": float(result.normal),
        "significant_errors": float(result.significant_errors),
    }


def _analysis(result: Comparative) -> str:
    lines = [f"matched_findings: {', '.join(result.matched) or 'none'}"]
    lines += [f"{name}: {', '.join(entities)}" for name, entities in result.errors.items() if entities]
    return "\n".join(lines)
