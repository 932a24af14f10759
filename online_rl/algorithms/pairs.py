"""Pairing: which candidates of a group are preferred to which, by reward.

There is one reward per candidate, None if it is unscorable: such a candidate never enters a pair, not even as 0. Two
candidates whose rewards differ by at most `tie_threshold` tie. Among equals the first candidate wins, so that the same
rewards always give the same pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

Rewards = Sequence[float | None]
Pair = tuple[int, int]  # (chosen, rejected): positions in the group


def best_and_worst(rewards: Rewards, tie_threshold: float = 1e-8) -> Pair | None:
    """The best and the worst candidate, or None if they tie (CheXalign, arXiv 2410.07025)."""
    scored = _scored(rewards)
    if len(scored) < 2:
        return None
    best, chosen = max(scored, key=lambda entry: entry[0])  # max and min keep the first of equals
    worst, rejected = min(scored, key=lambda entry: entry[0])
    return None if best - worst <= tie_threshold else (chosen, rejected)


def best_vs_rest(rewards: Rewards, tie_threshold: float = 1e-8) -> list[Pair]:
    """The best candidate against every other that does not tie with it: at most n - 1 pairs."""
    scored = _scored(rewards)
    if not scored:
        return []
    best, chosen = max(scored, key=lambda entry: entry[0])
    return [(chosen, i) for reward, i in scored if best - reward > tie_threshold]


def all_above_margin(rewards: Rewards, tie_threshold: float = 1e-8) -> list[Pair]:
    """Every two candidates that do not tie, the better one chosen: at most n (n - 1) / 2 pairs."""
    scored = _scored(rewards)
    return [(i, j) for better, i in scored for worse, j in scored if better - worse > tie_threshold]


def make_pairs(rewards: Rewards, pairing: str, tie_threshold: float) -> list[Pair]:
    """The pairs of a group by the pairing of this name."""
    if pairing == "best_worst":
        pair = best_and_worst(rewards, tie_threshold)
        return [] if pair is None else [pair]
    return (best_vs_rest if pairing == "best_vs_rest" else all_above_margin)(rewards, tie_threshold)


def desirable_by_threshold(rewards: Rewards, threshold: float) -> list[tuple[int, bool]]:
    """(position, desirable) of every scored candidate: desirable if its reward is above the threshold."""
    return [(i, reward > threshold) for reward, i in _scored(rewards)]


def _scored(rewards: Rewards) -> list[tuple[float, int]]:
    return [(r, i) for i, r in enumerate(rewards) if r is not None]
