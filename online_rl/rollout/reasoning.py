"""The report of a completion without the reasoning before it."""

from __future__ import annotations

from collections.abc import Sequence


def without_reasoning(text: str, tags: Sequence[str], prompt: str = "") -> tuple[str, bool]:
    """The report, and whether reasoning was left open, in which case there is no report.

    tags    what opens and what closes reasoning; none: the whole text is the report
    prompt  the rendered prompt: some chat templates open the reasoning at its end

    >>> without_reasoning("<think>Left or right?</think>\\n\\nSmall left effusion.", ["<think>", "</think>"])
    ('Small left effusion.', False)
    """
    if not tags:
        return text, False
    opening, closing = tags
    if prompt.rstrip().endswith(opening):
        text = opening + text
    if opening not in text:
        return text, False
    report = ""
    while opening in text:
        before, _, rest = text.partition(opening)
        _, closed, text = rest.partition(closing)
        report += before
        if not closed:
            return "", True
    return (report + text).lstrip(), False
