"""Read a GREEN analysis, or refuse to: `parse_analysis` fails closed where GREEN's own parser fails open.

    [Explanation]:
    <free text>

    [Clinically Significant Errors]:
    (a) False report of a finding in the candidate: 1. Small left effusion.
    (b) Missing a finding present in the reference: 0.
    ...

    [Clinically Insignificant Errors]:
    None.

    [Matched Findings]:
    2. No pneumothorax; Normal heart size.

GREEN = matched / (matched + significant errors), 0 when nothing matches (Ostmeier et al., Findings of EMNLP 2024).

GREEN's parser (`green_score` 0.0.12, `GREEN.parse_error_counts`) takes what it does not find for 0, and fewer errors
are a better score: a lost header, a lost period or a blank line in the list raises the value, and an empty answer
counts as the worst report. Here each of these is an `UnreadableAnalysis`. Where both read an analysis, they agree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from judges.errors import UnreadableAnalysis
from judges.green.grammar import CATEGORIES, EXPLANATION, HEADERS, LABEL_PATTERNS, NONE_PATTERNS, SECTIONS
from judges.green.numbering import numbered_to
from judges.green.overlong import GREEN_WORDS

__all__ = ["Analysis", "UnreadableAnalysis", "bounds", "decided", "decided_at", "parse_analysis"]

LETTERS = tuple(CATEGORIES)
LONGEST = 20_000  # characters; an answer of GREEN's 2048 tokens is far shorter

_LINE = re.compile(r"\((?P<mark>[a-f1-6])\) (?P<label>[^:]*): (?P<rest>[0-9].*)")
_COUNT = re.compile(r"(?P<count>0|[1-9][0-9]{0,3})\.(?: (?P<items>.*))?")
_LABELS = {letter: re.compile(pattern) for letter, pattern in LABEL_PATTERNS.items()}
_NONE = tuple(re.compile(pattern) for pattern in NONE_PATTERNS)
_NO_ITEM = re.compile(r"(?:none|n/a)?\.?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_MARKER = re.compile(r"<\|[^|\n]{0,40}\|>|</?s>|<unk>|\[/?INST\]|<</?SYS>>|```", re.IGNORECASE)
_LIKE_HEADER = re.compile(
    r"\[\s*(?:clinic|match|explan)|^\W*(?:clinically\s+(?:in)?significant\s+errors?|matched\s+findings?)\b\W*:",
    re.IGNORECASE | re.MULTILINE,
)
_LIKE_LIST = re.compile(r"^\s*(?:\[|\([a-f1-6]\)|[a-f]\))|\]\s*:", re.MULTILINE)
_SECOND_COUNT = re.compile(r"\([a-f1-6]\)|:\s*[0-9]+\.(?![0-9])")  # lines run together
# The matched count with its period and what follows it, or any first line that is complete. "1." may be the number of
# the first of several items, so its line is waited for.
_DECIDED = re.compile(rf"^{re.escape(HEADERS[2])}\n(?:(?!1\.)[0-9]+\.(?=\s)|[^\n]+(?=\n))", re.MULTILINE)


@dataclass(frozen=True)
class Analysis:
    """What GREEN counted in one pair of reports.

    significant, insignificant  errors by category, keys "a" to "f" (`judges.green.grammar.CATEGORIES` names them)
    matched                     findings that both reports have
    items                       the texts listed behind each count that has some, by "significant (a)" ... and
                                "matched findings". Report text: keep it out of logs
    disagreeing                 counts that differ from the number of texts listed behind them, named in the same way.
                                The count stands, as in GREEN. An analysis that ends at its matched count (`decided`)
                                has nothing there to disagree with
    """

    significant: dict[str, int]
    insignificant: dict[str, int]
    matched: int
    items: dict[str, tuple[str, ...]]
    disagreeing: tuple[str, ...]

    @property
    def green(self) -> float:
        """matched / (matched + significant errors), 0 when nothing matches; in [0, 1]."""
        return self.matched / (self.matched + sum(self.significant.values())) if self.matched else 0.0


def parse_analysis(text: str, reference: str | None = None, candidate: str | None = None) -> Analysis:
    """Read the tokens that a GREEN model generated. Given the two reports, counts must also fit their sizes (`bounds`).

    Raises UnreadableAnalysis, whose message names the place and holds no report text, unless

    - the three sections stand there exactly once and in order, a blank line between them, nothing after the third;
    - each list of errors holds lines (a) to (f), or (1) to (6), each at most once and in order, or a plain statement
      that there are none, and no blank line; the third section is one line, a count or that statement;
    - each count is an integer right after its label, closed by a period, and within bounds;
    - items that are numbered themselves are as many as counted ("1. First. 2. Second." may be a count of 1 or of 2);
    - each label is that of its letter;
    - nothing in the text looks like another header, chat marker or code fence.
    """
    most = bounds(reference, candidate)
    text = text.removesuffix("</s>").strip()
    explanation, *bodies = _sections(text)
    _check_explanation(explanation)
    items: dict[str, tuple[str, ...]] = {}
    disagreeing: list[str] = []
    counts = [_errors(body, i, most, items, disagreeing) for i, body in enumerate(bodies[:2])]
    matched = _matched(bodies[2], most["matched"], items, disagreeing)
    return Analysis(counts[0], counts[1], matched, items, tuple(disagreeing))


def decided_at(text: str) -> int | None:
    """Offset in a growing answer at which the score is decided: behind the matched count, or None before that.

    After a count of 1 it is the end of the line, which may turn out to be a numbered list.

    What `parse_analysis` says of `text[:offset]` no later token changes, but for refusing a malformed end.
    """
    found = _DECIDED.search(text)
    return found.end() if found else None


def decided(text: str) -> bool:
    """Whether generating may stop, because the matched count and the character after it are there."""
    return decided_at(text) is not None


def bounds(reference: str | None = None, candidate: str | None = None) -> dict[str, int]:
    """The highest credible count of each category and of "matched", by the words that GREEN reads of the reports.

    A finding takes at least a word: (a) and (e) are in the candidate, (b) and (f) in the reference, (c), (d) and
    matched findings in both. Without a report, `GREEN_WORDS`.
    """
    here, there = _words(candidate), _words(reference)
    both = min(here, there)
    return {"a": here, "b": there, "c": both, "d": both, "e": here, "f": there, "matched": both}


def _words(report: str | None) -> int:
    if report is None:
        return GREEN_WORDS
    return len(re.findall(r"\w+", " ".join(report.split()[:GREEN_WORDS])))


def _sections(text: str) -> list[str]:
    """Explanation and the bodies of the three sections, each without the blank lines around it."""
    if not text:
        raise UnreadableAnalysis("the analysis is empty")
    if len(text) > LONGEST:
        raise UnreadableAnalysis(f"the analysis has {len(text)} characters, expected at most {LONGEST}")
    if _CONTROL.search(text):
        raise UnreadableAnalysis("the analysis holds control characters")
    if _MARKER.search(text):
        raise UnreadableAnalysis("the analysis holds a chat marker or a code fence")
    lines = [line.rstrip(" \t") for line in text.split("\n")]
    places = []
    for header, name in zip(HEADERS, SECTIONS, strict=True):
        if lines.count(header) != 1:
            raise UnreadableAnalysis(f"the section {name!r} stands there {lines.count(header)} times, expected once")
        places.append(lines.index(header))
    if places != sorted(places):
        raise UnreadableAnalysis("the sections are not in order")
    if lines[0].startswith(EXPLANATION):
        lines[0] = lines[0].removeprefix(EXPLANATION)
    if len(_LIKE_HEADER.findall("\n".join(lines))) != len(HEADERS):
        raise UnreadableAnalysis("something other than the three section headers looks like one")
    for place, name in zip(places, SECTIONS, strict=True):
        if place and lines[place - 1]:
            raise UnreadableAnalysis(f"no blank line before the section {name!r}")
    starts, ends = [0, *(place + 1 for place in places)], [*places, len(lines)]
    return ["\n".join(lines[start:end]).rstrip("\n") for start, end in zip(starts, ends, strict=True)]


def _check_explanation(explanation: str) -> None:
    if _LIKE_LIST.search(explanation):
        raise UnreadableAnalysis("the explanation holds what looks like a header or a line of a list of errors")


def _errors(
    body: str, section: int, most: dict[str, int], items: dict[str, tuple[str, ...]], disagreeing: list[str]
) -> dict[str, int]:
    """The counts of one list of errors; missing lines are 0."""
    kind = ("significant", "insignificant")[section]
    counts = dict.fromkeys(LETTERS, 0)
    if not body:
        raise UnreadableAnalysis(f"the section {SECTIONS[section]!r} is empty")
    if _NONE[section].fullmatch(body):
        return counts
    last, numbered = -1, body.startswith("(1") or body[1:2].isdigit()
    for line in body.split("\n"):
        parts = _LINE.fullmatch(line)
        if not parts:
            raise UnreadableAnalysis(f"the section {SECTIONS[section]!r} holds a line that is not '(a) label: count.'")
        mark = parts["mark"]
        if mark.isdigit() != numbered:
            raise UnreadableAnalysis(f"the section {SECTIONS[section]!r} mixes letters and numbers")
        place = int(mark) - 1 if numbered else LETTERS.index(mark)
        if place <= last:
            raise UnreadableAnalysis(f"line ({mark}) of {SECTIONS[section]!r} is doubled or out of order")
        last, letter = place, LETTERS[place]
        name = f"{kind} ({letter})"
        if not _LABELS[letter].fullmatch(parts["label"]):
            raise UnreadableAnalysis(f"line ({mark}) of {SECTIONS[section]!r} does not have its category's label")
        counts[letter] = _count(parts["rest"], name, most[letter], items, disagreeing)
    return counts


def _matched(body: str, most: int, items: dict[str, tuple[str, ...]], disagreeing: list[str]) -> int:
    if not body:
        raise UnreadableAnalysis(f"the section {SECTIONS[2]!r} is empty")
    if _NONE[2].fullmatch(body):
        return 0
    return _count(body, "matched findings", most, items, disagreeing)


def _count(text: str, name: str, most: int, items: dict[str, tuple[str, ...]], disagreeing: list[str]) -> int:
    """Read "2. First; Second." Notes the items under `name`, and `name` if their number is not the count."""
    parts = _COUNT.fullmatch(text)
    if not parts:
        raise UnreadableAnalysis(f"{name}: expected an integer, a period and texts on one line")
    count, listed = int(parts["count"]), parts["items"] or ""
    if count > most:
        raise UnreadableAnalysis(f"{name}: the count is {count}; the reports allow {most}")
    if _SECOND_COUNT.search(listed):
        raise UnreadableAnalysis(f"{name}: a second list mark or count on the line")
    numbered = numbered_to(count, listed)
    if numbered is not None and numbered != count:
        raise UnreadableAnalysis(f"{name}: the count is {count}; its items are numbered up to {numbered}")
    found = tuple(item for item in (part.strip() for part in listed.split(";")) if not _NO_ITEM.fullmatch(item))
    if found:
        items[name] = found
    cut = name == "matched findings" and parts["items"] is None  # nothing was generated after the count
    if len(found) != count and numbered is None and not cut:
        disagreeing.append(name)
    return count
