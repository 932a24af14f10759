"""Which studies stand for a run: by rule, never by taste, so that a study that became worse is shown as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from online_rl.truth.findings import claims_of

Sample = dict[str, Any]

GAINED, LOST, NORMAL = "Findings gained", "Findings lost", "Nothing to find"
BY_FINDINGS = "Chosen by rule out of {}: of those that gained, lost, or have no finding, the median change of reward."
BY_REWARD = "Chosen by rule out of {}: largest, median and smallest change of reward (a loss is smaller than none)."


@dataclass(frozen=True)
class Pair:
    """The same study before and after training."""

    before: Sample
    after: Sample

    @property
    def change(self) -> float:
        return self.after["reward"] - self.before["reward"]

    @property
    def kind(self) -> str | None:
        """What became of the reference's present findings, as the rules read them; None if they are still the same.

        A study counts by how many of them the report names, so one that swaps a finding for another has kept its own.
        """
        then, now = (claims_of(_text(s, "candidate"), _text(s, "reference")) for s in (self.before, self.after))
        if then is None or now is None:
            return None
        if not now.abnormal:
            return NORMAL
        gain = now.counts[0] - then.counts[0]
        return GAINED if gain > 0 else LOST if gain < 0 else None


def choose(pairs: Sequence[Pair]) -> list[tuple[str, Pair]]:
    """Of each kind the study with the median change of reward, with a label that says how many are of that kind.

    By the change of reward alone if the rules read no reference.
    """
    if not readable(pairs):
        return _by_reward(pairs)
    kinds: dict[str | None, list[Pair]] = {}
    for pair in pairs:
        kinds.setdefault(pair.kind, []).append(pair)
    chosen = []
    for kind in (GAINED, LOST, NORMAL):
        if found := _ranked(kinds.get(kind, [])):
            chosen.append((f"{kind} ({len(found)} of {len(pairs)})", found[(len(found) - 1) // 2]))
    return chosen or _by_reward(pairs)


def how_chosen(pairs: Sequence[Pair]) -> str:
    """One sentence for the reader of the picture."""
    studies = f"{len(pairs)} sampled studies" if len(pairs) > 1 else "1 sampled study"
    by_findings = readable(pairs) and any(pair.kind for pair in pairs)
    return (BY_FINDINGS if by_findings else BY_REWARD).format(studies)


def readable(pairs: Sequence[Pair]) -> bool:
    """Whether the rules read a finding in any reference, even a denied one."""
    return any(claims_of("", _text(pair.after, "reference")) is not None for pair in pairs)


def _text(sample: Sample, key: str) -> str:
    return str(sample.get(key) or "")


def _ranked(pairs: Sequence[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: (-pair.change, str(pair.before["study_id"])))


def _by_reward(pairs: Sequence[Pair]) -> list[tuple[str, Pair]]:
    ranked = _ranked(pairs)
    if len(ranked) == 1:
        return [("The only study", ranked[0])]
    last = len(ranked) - 1
    places = {0: "Largest change", last: "Smallest change"}
    if last > 1:
        places[last // 2] = "Median change"
    return [(f"{places[i]} ({i + 1} of {len(ranked)})", ranked[i]) for i in sorted(places)]
