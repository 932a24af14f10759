"""A rule between keys: a function whose name states it, and whose answer is None or what to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from online_rl.config.model import Config


@dataclass(frozen=True)
class Rule:
    """A check together with the keys that it reads; it is skipped when one of them is itself unreadable."""

    keys: tuple[str, ...]
    check: Callable[[Config], str | None]

    @property
    def name(self) -> str:
        return self.check.__name__.replace("_", " ")


def rule(*keys: str) -> Callable[[Callable[[Config], str | None]], Rule]:
    """Decorate a check with the keys that it reads. Only what `rules.RULES` lists is applied."""
    return lambda check: Rule(keys, check)
