"""The findings judge: rule-based, deterministic, in GREEN's error taxonomy, without weights."""

from judges.findings.judge import FindingsJudge

__all__ = ["FindingsJudge"]
