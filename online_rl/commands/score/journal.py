"""The output file, and beside it the journal of a run that has not ended: what was scored is not scored again.

`scores.jsonl` is written whole or not at all, so it always holds every row. Until then the rows are kept in
`scores.jsonl.partial`, in the order in which they were scored, behind a first line that says of what and by whom.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from online_rl.errors import DataError
from online_rl.whole_file import whole_file

Row = dict[str, Any]


class Journal:
    """Rows by their place in the input. Opening it takes up what an interrupted run has left.

    of      says what the rows belong to (input, judge, options); a journal of something else is refused if it has rows
    afresh  begin again if it has rows of something else
    """

    def __init__(self, output: Path, of: dict[str, Any], overwrite: bool = False, afresh: bool = False) -> None:
        self.output = output
        self.partial, lock = self.beside(output)
        self.rows: dict[int, Row] = {}
        if output.exists() and not overwrite:
            raise DataError(
                f"{output}: exists already, with every row of an earlier run. Name another file, or add --overwrite."
            )
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            # Report text may stand in a judge's analysis: for the user's eyes alone.
            handle = os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o600)
            self._file = open(handle, "r+", encoding="utf-8")  # noqa: SIM115 - open until `close`
        except OSError as error:
            raise DataError(f"{self.partial}: cannot be written ({error.strerror}). Name another --output.") from None
        self._lock = FileLock(lock, timeout=0)  # freed however the process ends
        try:
            self._lock.acquire()
        except Timeout:
            self._file.close()
            raise DataError(f"{self.partial}: another process is writing it. Wait for it, or stop it.") from None
        try:
            self._take_up(of, afresh)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def beside(output: Path) -> tuple[Path, Path]:
        """The journal and its lock, which lie beside the output until it is whole."""
        return output.with_name(output.name + ".partial"), output.with_name(f".{output.name}.lock")

    def _take_up(self, of: dict[str, Any], afresh: bool) -> None:
        header = json.loads(json.dumps(of))
        found, end = _read(self.partial)
        if not found and _is_other(self.partial):
            raise DataError(f"{self.partial}: is no journal of this program. Remove it, or name another --output.")
        changed = sorted(key for key in {*header, *found[0]} if header.get(key) != found[0].get(key)) if found else []
        if changed and found[1:] and not afresh:
            rows = "1 row" if len(found) == 2 else f"{len(found) - 1} rows"
            raise DataError(
                f"{self.partial}: holds {rows} of another run (other {', '.join(changed)}). Add --overwrite to score "
                "them again, or name another --output."
            )
        if changed:
            found, end = [], 0
        self.rows = {row["place"]: row["row"] for row in found[1:]}
        self._file.seek(end)
        self._file.truncate()  # a line that was cut off when the run ended goes
        if not found:
            self._write([header])

    def add(self, places: Sequence[int], rows: Sequence[Row]) -> None:
        """Keep these rows, whatever happens next."""
        self.rows.update(zip(places, rows, strict=True))
        self._write([{"place": place, "row": row} for place, row in zip(places, rows, strict=True)])

    def finish(self) -> list[Row]:
        """Write the output, every row in the order of the input, and remove the journal."""
        ordered = [self.rows[place] for place in sorted(self.rows)]
        try:
            with whole_file(self.output, private=True) as partial, partial.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in ordered)
        except OSError as error:
            raise DataError(
                f"{self.output}: cannot be written ({error.strerror}). The scores are kept in {self.partial}; make "
                "room and give the same command again."
            ) from None
        self.partial.unlink()
        return ordered

    def close(self) -> None:
        self._file.close()
        if self._lock.is_locked:
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()

    def _write(self, lines: list[Row]) -> None:
        try:
            self._file.writelines(json.dumps(line, allow_nan=False) + "\n" for line in lines)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self.partial}: cannot be written ({error.strerror}). Make room and give the same command again."
            ) from None


def _is_other(path: Path) -> bool:
    """Whether a file without a whole first line is another program's; a header that was cut off is ours."""
    with path.open("rb") as file:
        start = file.readline()
    return bool(start) and (start.endswith(b"\n") or not start.startswith(b"{"))


def _read(path: Path) -> tuple[list[Row], int]:
    """The header and the rows up to the first line that is not whole, and the byte behind the last one taken."""
    lines: list[Row] = []
    end = 0
    with path.open("rb") as file:
        for line in file:
            try:
                value = json.loads(line)
            except ValueError:
                break
            whole = isinstance(value, dict) and line.endswith(b"\n")
            if not whole or (
                lines and not (isinstance(value.get("place"), int) and isinstance(value.get("row"), dict))
            ):
                break
            lines.append(value)
            end += len(line)
    return lines, end
