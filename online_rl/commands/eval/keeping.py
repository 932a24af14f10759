"""Keeping what an interrupted evaluation has done: a journal that its next call takes up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from online_rl.commands.score.journal import Journal


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
