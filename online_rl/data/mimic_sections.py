"""Sections of a MIMIC-CXR report by the rules of those who published the data.

The rules are those of `txt/section_parser.py` and `txt/create_section_files.py` in
https://github.com/MIT-LCP/mimic-cxr, so that findings and impression are the texts of `mimic_cxr_sectioned.csv`, traps
included:

- A header is a line end, a blank, capitals (with blanks, `( ) / , -`), a colon, and whitespace; digits make it none.
- The search for the next header begins behind the next line end: one that stands right below `FINDINGS:` is swallowed.
- Of a name that occurs twice the last section counts, after empty findings and impressions are dropped.
- Without findings and impression, the later paragraphs of the last section are `last_paragraph`.
"""

from __future__ import annotations

import re

_HEADER = re.compile(r"\n ([A-Z ()/,-]+):\s")
_PARAGRAPH = "\n \n"
PREAMBLE, WHOLE, LAST = "preamble", "full report", "last_paragraph"

# Section -> headers that mean exactly it, misspelt ones as they occur in the data included. "ndication" is upstream's.
_EXACT = {
    "addendum": "addendum",
    "comment": "comment",
    "comparison": "comparison|comparisons|comparison exam|comparison film|comparision|comparisions|comparrison"
    "|comparsion|reference exam",
    "date": "date",
    "examination": "examination|exam|type of examination",
    "findings": "findings|chest, two views|finding|findindgs|findgings|findins|findngs|findnings|finidngs"
    "|reference findings",
    "history": "history|clinical history|clinical information|patient history|pfi",
    "impression": "impression|conclusion|findings and impression|findings/impression|findings/ impression|imoression"
    "|imperssion|impession|impresion|impressoin|impresson|imprression|imprssion|mpression|ndication",
    "indication": "indication|clinical indication|idication|reason for exam|reason for examination",
    "notification": "notification",
    PREAMBLE: PREAMBLE,
    "recommendations": "recommendations|recommendation|recommendation(s)",
    "technique": "technique",
    "wet read": "wet read|wetread",
}
_SECTION_OF = {header: section for section, headers in _EXACT.items() for header in headers.split("|")}
_INSIDE = ("impression", "findings", "history", "comparison", "addendum")  # tried in this order
_VIEW_WORDS = re.compile(
    "chest|portable|pa and lat|lateral and pa|ap and lateral|lateral and ap|frontal and|two views|frontal view|pa view"
    "|ap view|one view|lateral view|bone window|frontal upright|frontal semi-upright|ribs"
)

# Studies whose text upstream picks by hand (`custom_mimic_cxr_rules`); mimic_cxr_sectioned.csv lacks them.
_BY_HAND = (
    "50913680 59363654 59279892 59768032 57936451 50058765 53356173 53202765 50808053 51966317 50743547 56451190 "
    "59067458 59215320 55124749 54365831 59087630 58157373 56482935 58375018 54654948 55157853 51491012 50525523 "
    "57564132 59982525 53488209 54875119 50196495 56579911 52648681 59889364 53514462 59505494 53182247 51410602 "
    "56412866 54986978 59003148 57150433 56760320 59562049 52674888 55258338 59330497 52119491 58235663 50798377 "
    "54168089 53071062 56724958 54231141 53607029 52035334"
)
BY_HAND = frozenset(_BY_HAND.split())


def sections(report: str) -> dict[str, str]:
    """Name -> text of the last section of that name, stripped; names are lower case, as `section_name` gives them.

    >>> sections(" FINAL REPORT\\n INDICATION:  Cough.\\n \\n FINDINGS:  Clear.\\n")["findings"]
    'Clear.'
    """
    found = [(name, text) for name, text in _parts(report) if text.strip() or name not in ("impression", "findings")]
    if not found:
        return {}
    if not {"impression", "findings"} & {name for name, _ in found}:
        name, text = found[-1]
        first, paragraph, later = text.partition(_PARAGRAPH)
        if paragraph:
            found[-1:] = [(name, first), (LAST, later)]
    return {name: text.strip() for name, text in found}


def section_name(header: str) -> str:
    """The section that a header names; a header that is not known names itself."""
    header = header.lower().strip()
    if header in _SECTION_OF:
        return _SECTION_OF[header]
    inside = next((name for name in _INSIDE if name in header), None)
    return inside or ("findings" if _VIEW_WORDS.search(header) else header)


def _parts(report: str) -> list[tuple[str, str]]:
    """Sections in their order, empty ones and repeated names included."""
    match = _HEADER.search(report)
    if match is None:
        return [(WHOLE, report)]
    found = [(PREAMBLE, report[: match.start(1)])]
    while match is not None:
        start, name = match.end(), section_name(match.group(1))
        line_end = report.find("\n", start)
        match = _HEADER.search(report, start if line_end == -1 else line_end)
        found.append((name, report[start : match.start() if match else len(report)]))
    return found
