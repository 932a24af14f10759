"""Names of what may also come from outside: checked when the configuration is read, imported only when it is used."""

from __future__ import annotations

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from judges.objects import FORMS, Kind


def known(kind: Kind) -> AfterValidator:
    """Refuse a name that is neither built in, nor that of an entry point, nor a place. Nothing is imported."""

    def check(use: str) -> str:
        if not kind.knows(use):
            expected = f"one of {', '.join(kind.names())}, {FORMS}"
            raise PydanticCustomError("unknown_name", "{expected}", {"expected": expected, "hint": kind.hint(use)})
        return use

    return AfterValidator(check)
