"""Well-formed GREEN analyses with known counts, made from hypothesis's bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

LABELS = {
    "a": "False report of a finding in the candidate",
    "b": "Missing a finding present in the reference",
    "c": "Misidentification of a finding's anatomic location/position",
    "d": "Misassessment of the severity of a finding",
    "e": "Mentioning a comparison that isn't in the reference",
    "f": "Omitting a comparison detailing a change from a prior study",
}
PHRASES = ("Small left effusion", "No pneumothorax", "2.5 cm nodule", "Now 2. before 1", "No. 7 rib", "T4. No kink",
           "None of the opacities", "Nodule (old)", "compared to 3/12", 'read as "stable"', "É, ß, 漢",
           "it reports: no change")  # fmt: skip
EXPLANATIONS = ("", "Both reports agree.", "[Explanation]:\nThe candidate misses 2. findings.\n\nNo new errors?",
                ":\nThe (old) report: none of the matched findings is new. ", "[Explanation]:\n")  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A well-formed analysis and what it says."""

    text: str
    significant: dict[str, int]
    insignificant: dict[str, int]
    matched: int

    @property
    def green(self) -> float:
        return self.matched / (self.matched + sum(self.significant.values())) if self.matched else 0.0


class Dice:
    """Choices from bytes: one draw of hypothesis for a whole analysis, and bytes of 0 give the simplest one."""

    def __init__(self, numbers: bytes) -> None:
        self.numbers = list(numbers)[::-1]

    def below(self, limit: int) -> int:
        return (self.numbers.pop() if self.numbers else 0) % limit

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.below(len(options))]


def write(numbers: bytes) -> Written:
    dice = Dice(numbers)
    explanation = dice.pick(EXPLANATIONS)
    significant, insignificant = _errors(dice, "significant"), _errors(dice, "insignificant")
    matched = dice.pick((None, None, None, (0, "None."), (0, "No matched findings."))) or _counted(dice)
    sections = (
        f"[Clinically Significant Errors]:\n{significant[1]}",
        f"[Clinically Insignificant Errors]:\n{insignificant[1]}",
        f"[Matched Findings]:\n{matched[1]}",
    )
    text = dice.pick(("\n\n", " \n\n", "\n\n\n")).join((explanation, *sections) if explanation else sections)
    return Written(text + dice.pick(("", "</s>", "\n")), significant[0], insignificant[0], matched[0])


def _counted(dice: Dice) -> tuple[int, str]:
    """A count and its text; most often as many items as counted."""
    count = dice.pick((0, dice.below(5), dice.below(256) + dice.below(45)))
    items = [dice.pick(PHRASES) for _ in range(dice.pick((min(count, 4), dice.below(4))))]
    return count, f"{count}." + (f" {'; '.join(items)}{dice.pick(('.', ';', ''))}" if items else "")


def _errors(dice: Dice, kind: str) -> tuple[dict[str, int], str]:
    counts = dict.fromkeys("abcdef", 0)
    kept = dice.pick(("abcdef", "abcdef", [letter for letter in "abcdef" if dice.below(2)]))
    if not kept:
        return counts, dice.pick(("None.", "None", f"No clinically {kind} errors.", "No errors were found."))
    marks, lines = dice.pick(("abcdef", "123456")), []
    for letter in kept:
        counts[letter], text = _counted(dice)
        lines.append(f"({marks['abcdef'.index(letter)]}) {LABELS[letter]}: {text}")
    return counts, "\n".join(lines)


ANALYSES = st.binary(max_size=160).map(write)
