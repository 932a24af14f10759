"""Scores that benchmarks reward or watch beside the judges, in TRL's call form; each is 0 to 1, per report."""

from __future__ import annotations

import re

from judges.findings.compare import compare
from judges.findings.parse import parse


def green_with_repeats(completions: list[str], reference: list[str]) -> list[float | None]:
    """GREEN = matched / (matched + errors), where a matched statement counts again each time it is repeated.

    The findings judge counts a finding once however often it is said. A judge that lists matched statements and does
    not notice repetition pays for every one of them; CheXalign's reports grew mostly by repetition.
    """
    return [_with_repeats(text, truth) for text, truth in zip(completions, reference, strict=True)]


def _with_repeats(text: str, truth: str) -> float | None:
    told = parse(truth)
    if not told.findings:
        return None
    whole = compare(parse(text), told)
    right = set(whole.matched)  # a sentence counts where it makes a statement that the whole report has right
    matched = sum(bool(right & set(compare(parse(sentence), told).matched)) for sentence in _sentences(text))
    return matched / (matched + whole.significant_errors) if matched else 0.0


def repeated_share(text: str) -> float:
    """The share of a report's sentences that it has said before, word by word."""
    said = [" ".join(_words(sentence)) for sentence in _sentences(text)]
    return 1 - len(set(said)) / len(said) if said else 0.0


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+", text) if sentence]


def rouge_l(completions: list[str], reference: list[str]) -> list[float | None]:
    """ROUGE-L (Lin, 2004): F1 of the longest common subsequence of words, without punctuation."""
    return [_rouge_l(_words(text), _words(truth)) for text, truth in zip(completions, reference, strict=True)]


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()


def _rouge_l(said: list[str], true: list[str]) -> float | None:
    if not true:
        return None
    best = [0] * (len(true) + 1)  # of the words so far against the first j of `true`
    for word in said:
        above_left = 0
        for j, other in enumerate(true, start=1):
            above_left, best[j] = best[j], above_left + 1 if word == other else max(best[j], best[j - 1])
    return 2 * best[-1] / (len(said) + len(true))
