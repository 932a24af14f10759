"""Cleaning reports as CheXalign does, counting their words, and filling in the prompt."""

from __future__ import annotations

import re
import unicodedata

from judges.length import count_words

__all__ = ["clean_report", "count_words", "plain_unicode", "render_prompt", "says_nothing", "without_surrogates"]

# What a reader cannot see and a tokenizer can: zero-width spaces and joiners, BOM, soft hyphen, bidirectional marks.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_BRACKETED = re.compile(r"\[.*?\]")
_DEIDENTIFIED = re.compile(r"_{2,}|\bx{3,}\b", re.IGNORECASE)


def without_surrogates(text: str) -> str:
    """Half characters, from broken decoding, become U+FFFD, so that every writer can encode the text."""
    return _SURROGATES.sub("\ufffd", text)


def plain_unicode(text: str) -> str:
    """The same words in one spelling: NFC, no invisible marks, no lone surrogates."""
    return unicodedata.normalize("NFC", _INVISIBLE.sub("", without_surrogates(text)))


def clean_report(text: str) -> str:
    """The text that judges compare and that words are counted in, for candidates and reference reports alike.

    CheXalign's cleaning: `[...]` and `**` are dropped, whitespace (NBSP and line ends included) collapses to one space,
    ends are stripped, letters are lower case. Before it, `plain_unicode`, so that two spellings of one text are one.

    >>> clean_report("FINDINGS: [unsigned]  **No**\\r\\neffusion. ")
    'findings: no effusion.'
    """
    text = _BRACKETED.sub("", plain_unicode(text)).replace("**", "")
    return " ".join(text.split()).lower()


def says_nothing(text: str) -> bool:
    """True where a report holds no word to score against: empty, punctuation, or only `___` and XXXX."""
    return not any(character.isalnum() for character in _DEIDENTIFIED.sub("", clean_report(text)))


def render_prompt(template: str, indication: str) -> str:
    """Fill `{indication}` in, on one line; other braces stay as they are.

    >>> render_prompt('Given: "{indication}"', " chest \\n pain ")
    'Given: "chest pain"'
    """
    return template.replace("{indication}", " ".join(plain_unicode(indication).split()))
