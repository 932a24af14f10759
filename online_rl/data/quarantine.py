"""Studies set aside for unreadable images: a budget, and a file that says which and why."""

from __future__ import annotations

import json
from pathlib import Path

from online_rl.errors import DataError

FILE_NAME = "quarantine.jsonl"


class Quarantine:
    """Counts studies set aside; beyond the budget it stops. Each is written to `<folder>/quarantine.jsonl` once.

    A study that an earlier start of the same run wrote there already is not written twice. Without a folder the budget
    holds and nothing is written (ranks other than 0).
    """

    def __init__(self, budget: int, folder: str | Path | None = None) -> None:
        self.budget = budget
        self.sources: set[str] = set()
        self.write_to(folder)

    def write_to(self, folder: str | Path | None) -> None:
        """From now on list what is set aside in this folder."""
        self.path = Path(folder) / FILE_NAME if folder is not None else None
        self._written = self._known()

    def add(self, source: str, problem: str) -> None:
        """Set one row aside, or stop when the budget is spent. `problem` names path and row, and holds no text."""
        self.sources.add(source)
        if len(self.sources) > self.budget:
            spent = "" if self.budget == 0 else f" This is number {len(self.sources)}."
            raise DataError(
                f"{problem}{spent} data.bad_images_budget is {self.budget}; raise it to set such studies aside."
            )
        if self.path is not None and source not in self._written:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"row": source, "problem": problem}) + "\n")
            self._written.add(source)

    def _known(self) -> set[str]:
        if self.path is None or not self.path.is_file():
            return set()
        known = set()
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                known.add(json.loads(line)["row"])
            except (ValueError, KeyError, TypeError):
                continue  # a line cut by a crash; its study is written again
        return known
