"""Filling the prompt template in."""

from __future__ import annotations

from judges.text import plain_unicode


def render_prompt(template: str, indication: str) -> str:
    """Fill `{indication}` in, on one line; other braces stay as they are.

    >>> render_prompt('Given: "{indication}"', " chest \\n pain ")
    'Given: "chest pain"'
    """
    return template.replace("{indication}", " ".join(plain_unicode(indication).split()))
