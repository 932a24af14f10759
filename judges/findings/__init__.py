"""The findings judges: rule-based, deterministic, in GREEN's error taxonomy, without weights.

Imported by whoever names them, by `online_rl.truth`, and by the benchmarks; imports the rest of `judges` alone.
"""

from judges.findings.f1 import FindingsF1
from judges.findings.judge import FindingsJudge

__all__ = ["FindingsF1", "FindingsJudge"]
