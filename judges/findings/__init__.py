"""The findings judge: rule-based, deterministic, in GREEN's error taxonomy, without weights.

Imported by whoever names it, and by the benchmarks; imports the rest of `judges` alone.
"""

from judges.findings.judge import FindingsJudge

__all__ = ["FindingsJudge"]
