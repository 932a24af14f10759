"""A data set in a few lines: studies per split, images per study, words per reference, columns, what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from judges.text import clean_report, count_words

if TYPE_CHECKING:
    from online_rl.data.studies import Studies
    from online_rl.data.study import Study

MEASURED = 2000  # references per split whose words are counted


def describe(studies: Studies) -> list[str]:
    """The lines that the doctor prints."""
    report = studies.report
    lines = [f"{report.get('rows', 0)} rows: {_count(studies.train)} to train on, {len(studies.eval)} held out"]
    lines[0] += f", {len(studies.test)} for tests" if studies.test else ""
    for name, split in (("train", studies.train), ("eval", studies.eval), ("test", studies.test)):
        if split:
            lines.append(f"{name}: {_images(split)}; {_words(split)}")
    if "with a prior study" in report:
        everyone = [*studies.train, *studies.eval, *studies.test]
        priors = sum(study.prior is not None for study in everyone)
        lines.append(f"data.prior: {priors} of {len(everyone)} studies have a prior study")
    if studies.columns is not None and studies.columns.used:
        lines += studies.columns.lines()
    if cleaned := [
        f"{name.removeprefix('cleaned: ')}: {n}" for name, n in report.items() if name.startswith("cleaned")
    ]:
        lines.append(f"data.clean changed references: {', '.join(cleaned)}")
    for reason, count in report.items():
        if count and (reason.startswith(("left out", "views not used")) or reason.endswith("over the limit")):
            first = studies.first.get(reason)
            lines.append(f"{reason}: {count}" + (f" (first: {first})" if first else ""))
    return lines


def _count(split: Sequence[Study]) -> str:
    return f"{len(split)} studies" if len(split) != 1 else "1 study"


def _images(split: Sequence[Study]) -> str:
    counts = Counter(len(study.images) for study in split)
    return "images used per study " + ", ".join(f"{n}: {counts[n]}" for n in sorted(counts))


def _words(split: Sequence[Study]) -> str:
    step = max(1, len(split) // MEASURED)
    words = sorted(count_words(clean_report(study.reference)) for study in split[::step])
    tenth, middle, ninth = (words[int(q * (len(words) - 1))] for q in (0.1, 0.5, 0.9))
    return f"words per reference {middle} (median), {tenth} to {ninth} (10th to 90th percentile)"
