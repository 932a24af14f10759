"""What an evaluation leaves behind: a journal that an interrupted one continues, what its results are of, a report."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from online_rl.commands.eval.source import ABOUT
from online_rl.commands.score.journal import Journal
from online_rl.errors import DataError
from online_rl.whole_file import whole_file


@contextmanager
def keeping(output: Path, of: dict[str, Any], afresh: bool, all_done: str) -> Iterator[Journal]:
    """Yield the journal beside `output`, which it becomes when the block ends.

    If the block raises, what was done is kept and said; a journal without a row is removed.

    all_done  what a whole run has done, such as "128 studies are scored"
    """
    journal = Journal(output, of, overwrite=True, afresh=afresh)
    try:
        yield journal
        journal.finish()
    except BaseException:
        if journal.rows:
            kept = f"{len(journal.rows)} of {all_done} and kept in {journal.partial}"
            print(f"{kept}; the same command continues from there.", file=sys.stderr, flush=True)
        else:
            journal.partial.unlink(missing_ok=True)
        raise
    finally:
        journal.close()


def is_finished(results: Path, of: dict[str, Any], overwrite: bool, what: str, refusal: str) -> bool:
    """Whether `results`, with `about.json` beside it, is what a finished evaluation of `of` has left.

    what     what the file holds, such as "scores"
    refusal  what is said if it is of something else; the keys that differ stand in place of {}

    Raises DataError.
    """
    if overwrite or not results.exists():
        return False
    folder = results.parent
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))["of"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: holds {what} without {ABOUT}. Add --overwrite, or name another --output.") from None
    now = json.loads(json.dumps(of))  # tuples become lists, as they are in the file
    changed = sorted(key for key in {*now, *found} if now.get(key) != found.get(key))
    if changed:
        raise DataError(f"{folder}: {refusal.format(', '.join(changed))}")
    return True


def write_about(folder: Path, about: dict[str, Any]) -> None:
    """Write `about.json`, which marks the results beside it as finished. Raises DataError."""
    try:
        with whole_file(folder / ABOUT) as partial:
            partial.write_text(json.dumps(about, indent=1), encoding="utf-8")
    except OSError as problem:
        raise DataError(f"{folder}: cannot be written ({problem.strerror}). Name another --output.") from None


def write_report(path: Path, report: dict[str, Any], kept: str) -> None:
    """Write what a command has computed. Raises DataError, which says what is `kept`."""
    try:
        with whole_file(path) as partial:
            partial.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as problem:
        raise DataError(f"{path}: cannot be written ({problem.strerror}). The {kept} themselves are kept.") from None
