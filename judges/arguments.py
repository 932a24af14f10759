"""Whether a judge takes the arguments that it is given: their names, and for judges of this package their types."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

from judges.errors import JudgeError

PLAIN: dict[type, tuple[tuple[type, ...], str]] = {  # annotation -> what is taken for it, and how it is called
    float: ((float, int), "a number"),
    int: ((int,), "a whole number"),
    bool: ((bool,), "true or false"),
    str: ((str,), "text"),
}


def check_names(found: type, use: str, args: Mapping[str, Any]) -> None:
    """Raise JudgeError for an argument that the class does not have, or one that it needs and is not given."""
    try:
        signature = inspect.signature(found)
    except ValueError:  # a class without a signature that can be read
        return
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    unknown = [name for name in args if name not in signature.parameters and not takes_any]
    if unknown:
        known = [name for name, p in signature.parameters.items() if p.kind is not inspect.Parameter.VAR_POSITIONAL]
        near = difflib.get_close_matches(unknown[0], known, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise JudgeError(
            f"judge {use!r}: args {sorted(args)} do not fit: it has no {unknown[0]}, expected some of "
            f"{', '.join(known) or 'none at all'}.{meant}"
        )
    try:
        signature.bind(**args)
    except TypeError as error:
        raise JudgeError(f"judge {use!r}: args {sorted(args)} do not fit: {error}.") from error


def check_types(found: type, use: str, args: Mapping[str, Any]) -> None:
    """Raise JudgeError for a value that is plainly of another type than the class says."""
    hints = typing.get_type_hints(found.__init__)  # type: ignore[misc]
    for name, value in args.items():
        allowed = _members(hints.get(name, Any))
        if not all(one in PLAIN or one is type(None) for one in allowed):
            continue  # lists, mappings and what else the judge itself looks at
        taken = tuple(kind for one in allowed for kind in (PLAIN[one][0] if one in PLAIN else (one,)))
        if not isinstance(value, taken) or (isinstance(value, bool) and bool not in allowed):
            expected = " or ".join(PLAIN[one][1] if one in PLAIN else "null" for one in allowed)
            raise JudgeError(f"judge {use!r}: args.{name}: found {value!r}, expected {expected}.")


def _members(hint: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
