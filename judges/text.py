"""Cleaning of reports as CheXalign does it, and counting of their words."""

from __future__ import annotations

import re
import unicodedata

from judges.layout import statement_lines

# What a reader cannot see and a tokenizer can: zero-width spaces and joiners, BOM, soft hyphen, bidirectional marks.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BRACKETED = re.compile(r"\[.*?\]")
_DEIDENTIFIED = re.compile(r"_{2,}|\bx{3,}\b", re.IGNORECASE)
# Punctuation with a word of two letters or more glued to it: "effusion.no". Not "1.5", "e.g." or "p.m.".
_GLUED = re.compile(r"(?<=\w)[.,;:!?]+(?=[^\W\d_]{2})")


def without_surrogates(text: str) -> str:
    """Half characters, from broken decoding, become U+FFFD, so that every writer can encode the text."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def plain_unicode(text: str) -> str:
    """The same words in one spelling: NFC, no invisible marks, no lone surrogates."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", without_surrogates(text)))


def clean_report(text: str) -> str:
    """The text that words are counted in and that GREEN reads, for candidates and reference reports alike.

    CheXalign's cleaning: `[...]` and `**` are dropped, whitespace (NBSP and line ends included) collapses to one space,
    ends are stripped, letters are lower case. Before it, `plain_unicode`, so that two spellings of one text are one.

    >>> clean_report("FINDINGS: [unsigned]  **No**\\r\\neffusion. ")
    'findings: no effusion.'
    """
    return one_line(_without_markup(text)).lower()


def clean_statements(text: str) -> str:
    """`clean_report` with a blank line where lay-out ends a statement: after list items, headings, rows, paragraphs.

    This is what judges are given. The words are those of `clean_report`; a wrap inside a sentence becomes a space.

    >>> clean_statements("**PLEURA:** no\\neffusion.\\n\\n- Mild [sic] edema\\n- Left nodule")
    'pleura: no effusion.\\n\\n- mild edema\\n\\n- left nodule'
    """
    text = _without_markup(text)
    lines = (" ".join(line.split()).lower() for line in statement_lines(text))
    return "\n\n".join(line for line in lines if line)


def one_line(text: str) -> str:
    """The text without its lay-out: whitespace collapses to one space."""
    return " ".join(text.split())


def _without_markup(text: str) -> str:
    return _BRACKETED.sub("", plain_unicode(text)).replace("**", "")


def says_nothing(text: str) -> bool:
    """True where a report holds no word to score against: empty, punctuation, or only `___` and XXXX."""
    if "[" in text or "_" in text or "xxx" in text.lower():  # without any of them, every letter and digit counts
        text = _DEIDENTIFIED.sub("", clean_report(text))
    return not any(character.isalnum() for character in text)


def count_words(text: str) -> int:
    """Whitespace words; a word glued to the punctuation before it counts as well.

    Otherwise a policy under length control learns to leave the space out. IU X-ray's 3,080 findings sections have ten
    such places; everywhere else this is `len(text.split())`.

    >>> count_words("no effusion.no pneumothorax, 1.5 cm nodule")
    7
    """
    return len(text.split()) + len(_GLUED.findall(text))
