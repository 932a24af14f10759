"""What every section of the configuration is made of: strictness, and the types that sections share."""

from __future__ import annotations

import os
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

_LEFT = re.compile(r"\$(\w+|\{[^}]*\})")
_PATH_LIKE = re.compile(r"(~|\$\w+|\$\{\w+\})(/|$)|~[\w.-]+/")
MOST = 2**31 - 1  # counts and seeds end up in 32 bits somewhere: numpy's seeds, vLLM's lengths


def expanded(text: str) -> str:
    """`~`, `~user` and environment variables replaced, $HOME/x and ${HOME}/x; refused if there is no such one.

    A text without a `$` or `~` stays as it is.
    """
    text = os.path.expanduser(os.path.expandvars(text))
    if left := _LEFT.search(text):
        name = left[1].strip("{}")
        raise PydanticCustomError(
            "unset_variable",
            "{expected}",
            {"expected": f"a path: the environment variable {name} is not set. Export it, or write it out"},
        )
    if text.startswith("~"):  # os.path.expanduser does not change the home of an unknown user
        user = text[1:].partition("/")[0]
        raise PydanticCustomError(
            "unknown_user",
            "{expected}",
            {"expected": f"a path: there is no user {user!r} here. Correct the name, or write the path out"},
        )
    return text


def expanded_values(value: Any) -> Any:
    """Arguments with the texts in them that begin like a path, ~/x or $DATA/x, expanded; all else as it is."""
    if isinstance(value, str):
        return expanded(value) if _PATH_LIKE.match(value) else value
    if isinstance(value, dict):
        return {key: expanded_values(inner) for key, inner in value.items()}
    return [expanded_values(inner) for inner in value] if isinstance(value, list) else value


Path = Annotated[str, AfterValidator(expanded)]
Args = Annotated[dict[str, Any], AfterValidator(expanded_values)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(ge=1, le=MOST)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Strict: no unknown key, no text where a number belongs, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)
