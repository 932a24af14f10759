"""What an answer says, read strictly: a letter, an option's own words, yes or no. Anything else is unreadable.

Published scripts differ where an answer is none: one takes the first letter A to D that it meets, another draws an
option at random. Both give a policy that writes reports instead of answers a score above 0.
"""

from __future__ import annotations

import re
import unicodedata

from online_rl.vqa.questions import LETTERS, YES_NO, Question

_LEAD = re.compile(r"(?i)^(?:the\s+)?(?:correct\s+|right\s+|final\s+)?(?:answer|option|choice)\s*(?:is|:)?\s*:?\s*")
_LETTER = re.compile(r"^[(\[]?\s*([A-Za-z])\s*(?:[)\]]\s*[.:,]?|[.:,])?\s*(.*)$", re.DOTALL)
_YES_NO = re.compile(r"(?i)^(yes|no)\s*(?:[.,;:!].*)?$", re.DOTALL)
_ARTICLES = {"the"}  # not "a", which may be an answer


def read_answer(question: Question, text: str) -> int | str | None:
    """The option's index, or the word for a question without options. None if it cannot be read.

    >>> q = Question("1", "chexbench", "view", (), "Which view?", ("AP", "lateral"), 1, "p", "")
    >>> [read_answer(q, said) for said in ("B", "(b) Lateral", "lateral", "A. lateral", "C", "It is A or B")]
    [1, 1, 1, None, None, None]
    """
    text = text.strip()
    if question.is_yes_no:
        found = _YES_NO.match(_LEAD.sub("", text))
        return YES_NO.index(found[1].lower()) if found else None
    if not question.options:
        return normalised(text) or None
    options = [normalised(option) for option in question.options]
    for said in (text, _LEAD.sub("", text)):
        if normalised(said) in options:  # an option may itself be a letter, or begin with "option"
            return options.index(normalised(said)) if options.count(normalised(said)) == 1 else None
    found = _LETTER.match(_LEAD.sub("", text))
    if not found or found[1].upper() not in LETTERS[: len(options)]:
        return None
    index, rest = LETTERS.index(found[1].upper()), normalised(found[2])
    return index if rest in ("", options[index]) else None


def is_right(question: Question, said: int | str | None) -> bool:
    return said == (normalised(question.answer) if isinstance(question.answer, str) else question.answer)


def normalised(text: str) -> str:
    """Lower case, without punctuation, "the" and runs of blanks.

    >>> normalised(" The left  lung. ")
    'left lung'
    """
    plain = unicodedata.normalize("NFKC", text).lower()
    words = re.sub(r"[^\w\s/+-]", " ", plain).split()
    return " ".join(word for word in words if word not in _ARTICLES) or " ".join(words)
