"""What the policy is asked about a study: a template with the study's columns, or a function of the user's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from judges.objects import Kind, user_line
from judges.text import plain_unicode
from online_rl.data.cells import is_missing
from online_rl.data.columns import plain_name
from online_rl.data.study import Study
from online_rl.errors import ConfigError, DataError

PROMPTS = Kind("data.prompt", {}, "online_rl.prompts", ConfigError)
OWN = ("indication", "views", "prior_report")  # what a study has beside its columns
# {name} or {name|what stands there if it is missing}; other braces stay as they are.
_PLACE = re.compile(r"\{(\w+)(?:\|([^{}]*))?\}")
_FUNCTION = re.compile(r"[\w./~-]+\.py:\w+|\w+(\.\w+)+:\w+")
# What chat templates and processors write; a template that holds it would end the turn, or count as an image.
_MARKUP = re.compile(
    r"<\|[^|<>\s]+\|>|</?(?:s|bos|eos|pad|image|img|video|start_of_turn|end_of_turn|start_of_image|end_of_image)>"
    r"|<image_?(?:pad|soft_token|\d+)>|\[/?INST\]|\[IMG\]|<end_of_utterance>",
    re.IGNORECASE,
)


def render_prompt(template: str, indication: str) -> str:
    """Fill `{indication}` in, on one line; other braces stay as they are.

    >>> render_prompt('Given: "{indication}"', " chest \\n pain ")
    'Given: "chest pain"'
    """
    return _filled(template, {"indication": indication}.get, "")


def study_prompt(template: str, study: Study) -> str:
    """What the policy is asked about this study: the template, each value on one line, or the function's text.

    A missing value gives what stands behind `|`, else nothing. Raises DataError for a value that is no text or number,
    and for a function that fails.
    """
    if is_function(template):
        return _called(template, study)
    return _filled(template, lambda name: _value(study, name), study.source or study.study_id)


def is_function(template: str) -> bool:
    """Whether data.prompt names a function, file.py:function or package.module:function."""
    return _FUNCTION.fullmatch(template.strip()) is not None


def placeholders(template: str) -> list[str]:
    """Names that a template asks for, in their order; none if it names a function."""
    return [] if is_function(template) else [match.group(1) for match in _PLACE.finditer(template)]


def markup(template: str) -> str | None:
    """The first token of chat templates or images that a template holds; None if there is none."""
    found = _MARKUP.search(template)
    return found.group() if found else None


def refuse_unknown_columns(templates: Iterable[str | None], studies: Iterable[Study]) -> None:
    """Raise DataError if a template asks for a column that no study has."""
    asked = {plain_name(name): name for template in templates if template for name in placeholders(template)}
    wanted = {plain: name for plain, name in asked.items() if plain not in OWN}
    columns: dict[str, None] = {}
    for study in studies if wanted else ():
        for column in study.columns:
            columns.setdefault(column)
            wanted.pop(plain_name(column), None)
        if not wanted:
            return
    for name in wanted.values():
        raise DataError(
            f"data.prompt: found {{{name}}}, but no study has such a column; expected one of "
            f"{', '.join([*OWN, *list(columns)[:30]])}. Correct the prompt, or name the column by data.columns."
        )


class AsText:
    """Takes tokens of the tokenizer's own out of a row's text, so that it is read as text by vLLM and trainer alike.

    `<image>` in an indication would count as an image, and an end-of-turn token would end the turn. A blank behind the
    first character makes plain characters of either.
    """

    def __init__(self, processor: Any) -> None:
        self.tokens = sorted(_tokens(processor), key=len, reverse=True)
        self._found = re.compile("|".join(re.escape(token) for token in self.tokens)) if self.tokens else None

    def __call__(self, text: str) -> str:
        """The text, unchanged where it holds no such token."""
        while self._found is not None and self._found.search(text):
            text = self._found.sub(lambda match: f"{match.group()[:1]} {match.group()[1:]}", text)
        return text


def _tokens(processor: Any) -> Iterator[str]:
    tokenizer = processor.tokenizer
    special = [*getattr(tokenizer, "all_special_tokens", ())]
    special += [str(t.content) for t in getattr(tokenizer, "added_tokens_decoder", {}).values() if t.special]
    special += [str(getattr(processor, name, None) or "") for name in ("image_token", "video_token", "boi_token")]
    yield from {token for token in special if len(token.strip()) > 1}


def _filled(template: str, value: Callable[[str], Any], source: str) -> str:
    def fill(match: re.Match[str]) -> str:
        name, fallback = match.groups()
        return _words(value(name), f"{source}: {name}") or fallback or ""

    return _PLACE.sub(fill, template)


def _value(study: Study, name: str) -> Any:
    plain = plain_name(name)
    if plain == "indication":
        return study.indication
    if plain == "views":
        return list(study.views)
    if plain == "prior_report":
        return study.prior.reference if study.prior is not None else None
    return next((value for column, value in study.columns.items() if plain_name(column) == plain), None)


def _words(value: Any, place: str) -> str:
    """A cell on one line."""
    if is_missing(value):
        return ""
    if isinstance(value, str):
        return " ".join(plain_unicode(value).split())
    if isinstance(value, bool | int | float):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, (_words(item, place) for item in value)))
    raise DataError(f"{place}: found {type(value).__name__}, expected text or a number for data.prompt.")


@cache
def _function(use: str) -> Callable[[Study], Any]:
    found = PROMPTS.load(use.strip())
    if not callable(found):
        PROMPTS.refuse(use, f"is of type {type(found).__name__}; expected a function from a study to text.")
    return found


def _called(use: str, study: Study) -> str:
    try:
        text = _function(use)(study)
    except ConfigError:
        raise
    except Exception as problem:  # its text may quote the study
        place = user_line(problem)
        raise DataError(
            f"{study.source or study.study_id}: data.prompt {use!r} raised {type(problem).__name__}"
            f"{f' ({place})' if place else ''}. Correct it; --debug shows the traceback."
        ) from problem
    if not isinstance(text, str):
        raise DataError(f"{study.source}: data.prompt {use!r}: returned {type(text).__name__}, expected text.")
    return text
