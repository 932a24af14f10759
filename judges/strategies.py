"""What cheap strategies earn under a reward: the price list to read before training.

A policy that cannot see well learns the best-paid of these. They need no image:

    empty                         nothing
    normal template               an all-normal report of the corpus, in its own language
    without findings              the reference without the sentences that call something present
    half of the findings          the reference with every second of those sentences
    best constant                 the best of CONSTANTS training reports for everybody
    another's reference           the reference report of the next patient
    reference repeated            the reference twice
    commonest finding for all     the template, which calls the corpus's commonest finding present as well
    four findings for all         the same with the four commonest
    reference                     the reference itself, which nothing honest beats

Constants are chosen by the rules of `judges.findings` on training reports, which are never the priced studies, so a
judge that costs money is asked for the prices alone: one call per row and study.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from judges.base import Case
from judges.findings.compare import compare
from judges.findings.parse import parse
from judges.length import verbosity

EMPTY = "empty"
TEMPLATE = "normal template"
WITHOUT = "without findings"
HALF = "half of the findings"
CONSTANT = "best constant"
ANOTHER = "another's reference"
REPEATED = "reference repeated"
COMMONEST = "commonest finding for all"
FOUR = "four findings for all"
REFERENCE = "reference"
OVER_CALLING = (COMMONEST, FOUR)

CORPUS = 400  # training reports that are read
CONSTANTS = 60  # of them tried as one report for everybody
TRIED_ON = 60  # and further ones that they are tried on
UNREAD = (
    "the rules read no finding in the training reports (another language?): no row that needs one is priced, and no "
    "verdict is given."
)
NO_TEMPLATE = (
    "no training report calls everything normal, so there is no template: no row that needs one is priced, and no "
    "verdict is given."
)

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True)
class Constants:
    """Reports for everybody, made of training reports. None or empty if the rules cannot read the corpus.

    template  an all-normal report
    constant  the training report that is worth most for others
    added     sentences that call the commonest findings present, commonest first, at most four
    """

    template: str | None = None
    constant: str | None = None
    added: tuple[tuple[str, str], ...] = ()  # (finding, sentence)


def choose_constants(corpus: Sequence[str]) -> Constants:
    """Choose by the rules, from cleaned training reports in the order of the corpus; the same corpus, the same choice.

    What a report is worth for everybody is its mean length-controlled value under the findings judge, over TRIED_ON
    reports that are not among those tried.
    """
    reports = [report for report in dict.fromkeys(corpus) if report][:CORPUS]
    read = {report: found for report in reports if (found := parse(report)).findings}
    normal = [report for report in read if not present(report)][:CONSTANTS]
    tried = list(read)[:CONSTANTS]
    others = [report for report in read if report not in {*normal, *tried}][-TRIED_ON:] or list(read)

    def worth(report: str) -> float:
        values = (compare(read[report], read[o]).value() / max(1.0, verbosity(report, o)) for o in others)
        return sum(values) / len(others)

    return Constants(max(normal, key=worth, default=None), max(tried, key=worth, default=None), _commonest(list(read)))


def _commonest(reports: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The four findings that most reports call present, each with the sentence that most often states it alone."""
    counts: Counter[str] = Counter()
    stated: dict[str, Counter[str]] = {}
    for report in reports:
        counts.update(present(report))
        for sentence in sentences(report):
            names = present(sentence)
            if len(names) == len(mentioned(sentence)) == 1:
                stated.setdefault(next(iter(names)), Counter())[sentence] += 1
    ranked = sorted((name for name in counts if name in stated), key=lambda name: (-counts[name], name))[:4]
    return tuple((name, stated[name].most_common(1)[0][0]) for name in ranked)


def strategy_cases(cases: Sequence[Case], constants: Constants, patients: Sequence[str] = ()) -> dict[str, list[Case]]:
    """The cases of every row, in the order of `cases`; rows that the corpus cannot give are left out.

    cases     the studies to price; their candidates play no part
    patients  one per case, so that another's reference is of another patient; none = every case is one
    """
    rows: dict[str, list[str]] = {EMPTY: [""] * len(cases)}
    references = [case.reference for case in cases]
    if constants.template is not None:
        rows[TEMPLATE] = [constants.template] * len(cases)
    if any(map(present, references)):
        rows[WITHOUT] = [_without(reference) for reference in references]
        rows[HALF] = _with_half(references)
    if constants.constant is not None:
        rows[CONSTANT] = [constants.constant] * len(cases)
    others = _of_others(references, patients or [str(i) for i in range(len(cases))])
    if others:
        rows[ANOTHER] = others
    rows[REPEATED] = [f"{reference} {reference}" for reference in references]
    if constants.template is not None:
        for name, count in ((COMMONEST, 1), (FOUR, 4)):
            if len(constants.added) >= count:
                rows[name] = [_calling(constants.template, constants.added[:count])] * len(cases)
    made = {
        name: [
            replace(case, candidate=text, raw_candidate=text, completion_ids=())
            for case, text in zip(cases, texts, strict=True)
        ]
        for name, texts in rows.items()
    }
    own = [replace(case, candidate=case.reference, raw_candidate=case.raw_reference) for case in cases]
    return made | {REFERENCE: [replace(case, completion_ids=()) for case in own]}


@functools.lru_cache(maxsize=16_384)
def mentioned(text: str) -> dict[str, bool]:
    """The findings that a text mentions; True for those that it calls present."""
    return {entity: finding.present for entity, finding in parse(text).findings.items()}


def present(text: str) -> list[str]:
    return [entity for entity, is_present in mentioned(text).items() if is_present]


def sentences(text: str) -> list[str]:
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def _without(report: str) -> str:
    return " ".join(sentence for sentence in sentences(report) if not present(sentence))


def _with_half(reports: Sequence[str]) -> list[str]:
    """Every second sentence that calls something present goes, counted over all reports, so that half of them go."""
    texts, number = [], 0
    for report in reports:
        kept = []
        for sentence in sentences(report):
            stated = bool(present(sentence))
            number += stated
            if not stated or number % 2:
                kept.append(sentence)
        texts.append(" ".join(kept))
    return texts


def _of_others(references: Sequence[str], patients: Sequence[str]) -> list[str]:
    """For each study the reference of the next one of another patient; empty if there is one patient alone."""
    count, chosen = len(references), []
    for i in range(count):
        others = (j % count for j in range(i + 1, i + count) if patients[j % count] != patients[i])
        other = next(others, None)
        if other is None:
            return []
        chosen.append(references[other])
    return chosen


def _calling(template: str, added: Sequence[tuple[str, str]]) -> str:
    """The template that calls `added` present: sentences that deny one of them make room for it."""
    names = {name for name, _ in added}
    kept = [sentence for sentence in sentences(template) if names.isdisjoint(mentioned(sentence))]
    return " ".join([*(sentence for _, sentence in added), *kept])
