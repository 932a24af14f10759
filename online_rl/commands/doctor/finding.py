"""One finding of the doctor, and the line that it prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one check found. `failed` would stop a run; a `warning` would not."""

    check: str
    state: State
    detail: str

    def line(self, width: int) -> str:
        indent = "\n" + " " * (width + 11)  # a configuration may have several problems
        return f"{self.state:8} {self.check:{width}}  {indent.join(self.detail.split(chr(10)))}"
