"""The `findings` judge as a reward function in TRL's form: the same function on both sides of step_vs_trl.py."""

from __future__ import annotations

from typing import Any

from judges import Case
from judges.findings import FindingsJudge
from judges.text import clean_report

JUDGE = FindingsJudge(normal_weight=0.25)


def findings_reward(completions: list[Any], reference: list[str], **columns: Any) -> list[float | None]:
    """Score of each completion against its reference report, both cleaned; None where nothing can be scored."""
    texts = [c if isinstance(c, str) else c[0]["content"] for c in completions]
    cases = [
        Case(str(i), clean_report(text), clean_report(wanted))
        for i, (text, wanted) in enumerate(zip(texts, reference, strict=True))
    ]
    return [score.value for score in JUDGE.score(cases)]
