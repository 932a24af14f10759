"""Judges score candidate reports against reference reports; `judges.base` has the contract.

Imported by `online_rl` and by scripts and servers of its users; imports nothing of `online_rl`. Names are loaded when
they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from judges.base import Case, Judge, Score
    from judges.findings import FindingsJudge
    from judges.registry import load_judge
    from judges.score_pairs import score

__all__ = ["Case", "FindingsJudge", "Judge", "Score", "load_judge", "score"]

_HOMES = {
    "Case": "judges.base",
    "FindingsJudge": "judges.findings",
    "Judge": "judges.base",
    "Score": "judges.base",
    "load_judge": "judges.registry",
    "score": "judges.score_pairs",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'judges' has no attribute {name!r}; it has {', '.join(__all__)}.")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
