"""Studies set aside for unreadable images: a budget, and a file that says which and why."""

from __future__ import annotations

import json
from pathlib import Path

from online_rl.errors import DataError

FILE_NAME = "quarantine.jsonl"
SHOWN = 8  # earlier rows in a message


class Quarantine:
    """Counts studies set aside; beyond the budget it stops. Each is written to `<folder>/quarantine.jsonl` once.

    A study that an earlier start of the same run wrote there already is not written twice. Until `write_to` the budget
    holds and nothing is written.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.problems: dict[str, str] = {}  # row -> what is wrong with it
        self.path: Path | None = None
        self._written: set[str] = set()

    def write_to(self, folder: str | Path, so_far: bool = True) -> None:
        """From now on list what is set aside in this folder; what was `so_far`, too, unless another rank does."""
        self.path = Path(folder) / FILE_NAME
        self._written = self._known()
        if not so_far:
            self._written.update(self.problems)
        for row, problem in self.problems.items():
            self._write(row, problem)

    def add(self, source: str, problem: str) -> None:
        """Set one row aside, or stop when the budget is spent. `problem` names path and row, and holds no text."""
        self.problems.setdefault(source, problem)
        if len(self.problems) > self.budget:
            earlier = [row for row in self.problems if row != source][:SHOWN]
            spent = f" This is number {len(self.problems)}, after {', '.join(earlier)}." if earlier else ""
            raise DataError(
                f"{problem}{spent} data.bad_images_budget is {self.budget}; raise it to set such studies aside."
            )
        if self.path is not None:
            self._write(source, problem)

    def _write(self, row: str, problem: str) -> None:
        assert self.path is not None
        if row not in self._written:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"row": row, "problem": problem}) + "\n")
            except OSError as error:
                raise DataError(
                    f"{self.path}: cannot be written ({error.strerror}), so {row} cannot be set aside. Make room, or "
                    "set run.dir elsewhere."
                ) from None
            self._written.add(row)

    def _known(self) -> set[str]:
        assert self.path is not None
        if not self.path.is_file():
            return set()
        known = set()
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                known.add(json.loads(line)["row"])
            except (ValueError, KeyError, TypeError):
                continue  # a line cut by a crash; its study is written again
        return known
