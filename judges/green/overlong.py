"""Candidates longer than the 300 words that GREEN reads of a report: what lies beyond is invisible to the judge.

`make_prompt` cuts both reports to their first 300 whitespace words, so a policy could hide anything behind them. Each
rule is a pure function of the judge's value (in [0, 1]) and of the candidate's length in words:

    ignore      value                          GREEN as published
    penalise    value * 300 / words            as if the unread part held nothing right: the share that was read
    unscorable  None                           the judge has not seen the report it would score

Candidates of up to 300 words keep their value under each of them.
"""

from __future__ import annotations

from collections.abc import Callable

GREEN_WORDS = 300  # of each report; the judge never sees what follows


def unread_words(report: str) -> int:
    """Number of whitespace words of a report that GREEN does not read; 0 if it reads all."""
    return max(len(report.split()) - GREEN_WORDS, 0)


def ignore(value: float, words: int) -> float | None:
    return value


def penalise(value: float, words: int) -> float | None:
    """value * 300 / words beyond 300 words.

    >>> penalise(0.8, 300), penalise(0.8, 600)
    (0.8, 0.4)
    """
    return value * GREEN_WORDS / words if words > GREEN_WORDS else value


def unscorable(value: float, words: int) -> float | None:
    return None if words > GREEN_WORDS else value


RULES: dict[str, Callable[[float, int], float | None]] = {
    "ignore": ignore,
    "penalise": penalise,
    "unscorable": unscorable,
}
