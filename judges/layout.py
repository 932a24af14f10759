"""Line ends of a report: those that end a statement, and those at which a line was merely full.

List items, headings, table rows and blank lines end a statement; a wrap inside a sentence does not. Plain text alone
decides: markers, capitals, words that cannot end a statement, and, where there are no capitals to go by, how full the
lines are.
"""

from __future__ import annotations

import re


def _words(words: str) -> frozenset[str]:
    return frozenset(words.split("|"))


# What stands before an item: bullets, numbers, letters. Kept in the line; `without_marker` takes it off.
_BULLETS = r"[-–—*+•▪◦●‣→>·■□○►▶➢✓✔~#]"
_NUMBER = r"(?:\d{1,2}(?:\.\d{1,2})*|[a-z]|[ivx]{1,4})"
_MARKER = re.compile(
    rf"\s*(?:{_BULLETS}+(?=[\s(]|[^\W\d_]|\d+\s)\s*(?:\d{{1,2}}(?=\s))?"
    rf"|\({_NUMBER}\)(?=\s|[^\W\d_])"
    rf"|{_NUMBER}(?:[.):/]+\)?|\s?-)(?=\s)"
    rf"|\d{{1,2}}[.)](?=[^\W\d_])"
    rf"|\d{{1,2}}\s(?=[^\W\d_])"
    rf"|(?:no|item|finding|number)\.?\s*\d{{1,2}}\s*[:.)])",
    re.IGNORECASE,
)
_CAPITAL_AFTER_NUMBER = re.compile(r"\s*\d{1,2}\s[A-Z]")
_CELLS = re.compile(r"[|│¦]|(?<=[^\s.:!?,;])(?:\t|\s{2,})(?=\S)")
# No statement ends with one of these; with one of the second set, only before a capital.
_INCOMPLETE = _words(
    "a|an|the|and|or|nor|of|in|on|at|to|from|with|without|is|are|was|were|be|been|has|have|had|by|for|into|"
    "near|over|within|along|than|as|that|which|this|these|there|may|might|could|cannot|can|should|both|either|"
    "neither|very|most|any|some|its|their|between|versus|vs|but|also|since|compared|does|do|did|shows|"
    "demonstrates"
)
_ATTRIBUTES = _words(
    "no|not|left|right|upper|lower|middle|mild|small|moderate|large|severe|new|focal|acute|pleural|pulmonary|"
    "evidence|likely|possible|possibly|probable|probably|more|less|consistent|compatible|suggestive|show|"
    "demonstrate|appear|appears"
)
_CONTINUES = _words(
    "and|or|nor|of|in|on|at|to|from|with|within|without|is|are|was|were|be|been|has|have|had|by|for|into|near|"
    "over|along|than|as|that|which|who|may|might|could|cannot|can|should|but|also|although|though|while|since|"
    "compared|versus|vs|seen|identified|noted|present|measuring|again"
)
_NARROWEST_PROSE, _NARROWEST_PLAIN = 20, 50  # no shorter line is taken for a full one, with and without full stops
_WORD = re.compile(r"[^\W\d_]+")
# A sentence ends inside the line, and the next one goes past its end.
_MIDLINE = re.compile(r"[^\W\d_]{2}[.;]\s+[^\W_]+\s.*[^\s.;:!?]\s*$")


def statement_lines(text: str) -> list[str]:
    """The lines of `text` after wraps are joined by a space; blank lines are gone.

    >>> statement_lines("- No effusion\\n- Mild cardiomegaly, the aorta is\\n  tortuous")
    ['- No effusion', '- Mild cardiomegaly, the aorta is tortuous']
    """
    if "\n" not in text and "\r" not in text:
        return [text]
    lines: list[str] = []
    for block in _blocks(text):
        lines += _joined(block)
    return lines


def without_marker(line: str) -> str:
    """`line` without the bullet, number or letter that it begins with."""
    found = _marker(line)
    while found:
        line = line[found.end() :].lstrip()
        found = _marker(line)
    return line


def has_marker(line: str) -> bool:
    return _marker(line) is not None


def _marker(line: str) -> re.Match[str] | None:
    """The marker of `line`; a bare number is one only before a capital: "12 mm nodule" has none."""
    found = _MARKER.match(line)
    if found is not None and found.group().strip().isdigit() and not _CAPITAL_AFTER_NUMBER.match(line):
        return None
    return found


def _blocks(text: str) -> list[list[str]]:
    """Runs of lines that no blank line divides."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _joined(block: list[str]) -> list[str]:
    if len(block) == 1:
        return block
    wrapped = _is_wrapped(block)
    cased = _has_sentence_case(block)
    lines = [block[0]]
    for before, line in zip(block, block[1:]):  # noqa: B905 - the second is one shorter
        if _starts_statement(before, line, wrapped, cased):
            lines.append(line)
        else:
            lines[-1] = f"{lines[-1].rstrip()} {line.strip()}"
    return lines


def _starts_statement(before: str, line: str, wrapped: bool, cased: bool) -> bool:
    if has_marker(line):
        return True
    if _CELLS.search(before.strip()) and _CELLS.search(line.strip()):
        return True
    before, after = before.rstrip(), line.lstrip()
    if before.endswith((".", "!", "?", ";", ":")):
        return not wrapped or before.endswith(":")
    if before.endswith((",", "-", "/")):
        return False
    words, first = _WORD.findall(before), _WORD.match(after.lstrip("<_=[(\"'*"))
    last = words[-1].lower() if len(words) > 1 else ""
    if last in _INCOMPLETE:
        return False
    if first is None:
        return not wrapped
    word = first.group()
    if cased and word[0].isupper():
        return not (word.isupper() and wrapped)  # "COPD" may begin any line
    return not wrapped and last not in _ATTRIBUTES and word.lower() not in _CONTINUES


def _has_sentence_case(block: list[str]) -> bool:
    """Do capitals tell where a sentence begins? Not in all capitals, in all lower case, or In Title Case."""
    words = [word for line in block for word in _WORD.findall(line)]
    capital = sum(word[0].isupper() for word in words)
    if not capital or capital == len(words) and all(word.isupper() for word in words if len(word) > 1):
        return False
    starts = [line for line in block if line.lstrip()[:1].isupper()]
    return bool(starts) and (capital <= 0.6 * len(words) or len(starts) == len(block))


def _is_wrapped(block: list[str]) -> bool:
    """Is each line but the last so full that the next word had no room, or the text laid out one word a line?"""
    width = max(len(line.rstrip()) for line in block)
    if len(block) > 3 and sum(len(line.split()) == 1 for line in block) > 0.5 * len(block):
        return any(line.lstrip()[:1].islower() for line in block)
    prose = any("." in line for line in block)
    if width < (_NARROWEST_PROSE if prose else _NARROWEST_PLAIN) and not _runs_on(block):
        return False
    if any(_MIDLINE.search(line) for line in block):
        return True
    for line, following in zip(block, block[1:]):  # noqa: B905
        if line.rstrip().endswith((".", ":")):
            continue
        first = following.split(maxsplit=1)[0]
        if len(line.rstrip()) + 1 + len(first) <= 0.7 * width:
            return _runs_on(block)
    return True


def _runs_on(block: list[str]) -> bool:
    """Do lines begin in lower case after one that began with a capital, in a text of sentences?"""
    first = block[0].lstrip()[:1]
    inner = [line.lstrip()[:1] for line in block[1:]]
    return first.isupper() and any(c.islower() for c in inner) and any("." in line for line in block)
