"""The words of a GREEN analysis: headers, categories, labels, statements of none, and the regex that enforces them.

The form is the one that GREEN's prompt asks for (`green_score.utils.make_prompt`; Ostmeier et al., Findings of EMNLP
2024) as its models write it: so are 216 of the 221 analyses that its repository has published, partial lists and bodies
of "None." included. The other five give one line twice, and GREEN's parser counts one of them.
"""

from __future__ import annotations

from collections.abc import Mapping

SECTIONS = ("Clinically Significant Errors", "Clinically Insignificant Errors", "Matched Findings")
HEADERS = tuple(f"[{name}]:" for name in SECTIONS)
EXPLANATION = "[Explanation]:"

# letter -> the name its count has in `Score.parts`, the same as in the findings judge
CATEGORIES = {
    "a": "false_finding",
    "b": "missing_finding",
    "c": "wrong_location",
    "d": "wrong_severity",
    "e": "false_comparison",
    "f": "omitted_comparison",
}
LABELS = {
    "a": "False report of a finding in the candidate",
    "b": "Missing a finding present in the reference",
    "c": "Misidentification of a finding's anatomic location/position",
    "d": "Misassessment of the severity of a finding",
    "e": "Mentioning a comparison that isn't in the reference",
    "f": "Omitting a comparison detailing a change from a prior study",
}

# What may stand where a label stands: the label, shortened or in the plural as the models now and then write it. A
# label of another category, or the halves of two, is refused: it means that something between them is gone.
_FINDING = r"(?:a |the )?findings?"
LABEL_PATTERNS = {
    "a": rf"False report(?:ing)?(?: of {_FINDING}(?: in the candidate(?: report)?)?)?",
    "b": rf"Missing {_FINDING}(?:(?: present| mentioned)?(?: in the reference(?: report)?)?)?",
    "c": rf"Misidentification of {_FINDING}(?:'s|s')?(?: anatomic(?:al)? (?:location/position|location|position))?",
    "d": rf"Misassessment of (?:the )?severity(?: of {_FINDING})?",
    "e": r"Mentioning a comparison(?: that (?:isn't|is not)(?: present| mentioned)? in the reference(?: report)?)?",
    "f": r"(?:Omitting|Omission of) a comparison(?: detailing a change(?: from a prior study)?)?",
}

_FOUND = r"(?: (?:are|were))?(?: (?:found|identified|noted|detected|present|reported))?"
_NOTHING = rf"None{_FOUND}\.?"
_NO = r"(?:No|There (?:are|were) no)"
_ERRORS = rf"errors{_FOUND}(?: in the candidate(?: report)?)?\.?"
NONE_PATTERNS = (
    rf"{_NOTHING}|{_NO} (?:clinically significant )?{_ERRORS}",
    rf"{_NOTHING}|{_NO} (?:clinically insignificant )?{_ERRORS}",
    rf"{_NOTHING}|{_NO} (?:(?:matched|matching) )?findings{_FOUND}\.?",
)

# Free text that a constrained answer may use: nothing that opens a header, a list mark or a chat marker.
_START, _REST = "[A-Za-z0-9]", "[A-Za-z0-9 ,.'%/-]"
# The same for items, where "2." or "2 -" would number one: periods and hyphens follow letters or stand in a decimal.
_ITEM_REST = r"([A-Za-z0-9 ,'%/]|[A-Za-z][.-]|[0-9]\.[0-9])"


def analysis_regex(
    explanation_characters: int = 600,
    item_characters: int = 120,
    most: int | Mapping[str, int] = 99,
    score_only: bool = False,
) -> str:
    """The regular expression of an answer, for vLLM's `structured_outputs: {"regex": ...}`.

    Every match is read by `parse_analysis` (whose bounds by report size still hold), and every one ends: a model that
    rambles is cut at these lengths. All six lines of both lists are asked for, in GREEN's own words; a count above 0 is
    followed by text, a count of 0 by nothing. It uses literals, character classes, groups and bounded repeats only,
    which all of vLLM's structured-output backends take.

    explanation_characters, item_characters  longest explanation, longest list of items of one line (less its periods)
    most                                     highest count, or one each for "a" to "f" and "matched" (0: none)
    score_only                               end right after the matched count, where the score is decided
    """
    limits = most if isinstance(most, Mapping) else dict.fromkeys([*LABELS, "matched"], most)
    lowest = min(limits.values()) if isinstance(most, Mapping) else min(limits.values()) - 1
    if min(explanation_characters, item_characters) < 1 or lowest < 0:
        raise ValueError(
            f"analysis_regex: explanation_characters {explanation_characters}, item_characters {item_characters}, "
            f"most {most}; expected at least 1 each."
        )
    items = f"{_START}{_ITEM_REST}{{0,{item_characters - 1}}}"
    lines = {name: rf"(0\.|{_one_to(limit)}\. {items})" if limit else r"0\." for name, limit in limits.items()}
    errors = "".join(rf"\({letter}\) {_quoted(label)}: {lines[letter]}\n" for letter, label in LABELS.items())
    matched = lines["matched"]
    if score_only:
        matched = rf"(0|{_one_to(limits['matched'])})\." if limits["matched"] else r"0\."
    return (
        rf"{_quoted(EXPLANATION)}\n{_START}{_REST}{{0,{explanation_characters - 1}}}\n\n"
        rf"{_quoted(HEADERS[0])}\n{errors}\n{_quoted(HEADERS[1])}\n{errors}\n{_quoted(HEADERS[2])}\n{matched}"
    )


def _quoted(text: str) -> str:
    """`re.escape` without escapes that only Python's engine knows."""
    return "".join("\\" + character if character in r"\.[]()*+?{}|^$/" else character for character in text)


def _one_to(most: int) -> str:
    """A pattern of the integers 1 to `most`, without leading zeros.

    >>> _one_to(25)
    '(2[0-5]|1[0-9]|[1-9])'
    """
    digits, choices = str(most), []
    for place, digit in enumerate(digits):  # same length as `most`, equal up to `place`, smaller there
        low, high = (1 if place == 0 else 0), int(digit) - (place < len(digits) - 1)
        if low <= high:
            choices.append(digits[:place] + _digit(low, high) + "[0-9]" * (len(digits) - place - 1))
    choices = choices[::-1] + ["[1-9]" + "[0-9]" * (length - 1) for length in range(len(digits) - 1, 0, -1)]
    return f"({'|'.join(choices)})"


def _digit(low: int, high: int) -> str:
    return str(low) if low == high else f"[{low}-{high}]"
