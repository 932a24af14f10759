"""Scores on disk, shared by ranks and runs. Whatever is wrong with a cache costs time, never a score."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import time
import zlib
from pathlib import Path
from typing import Any

import diskcache
from filelock import FileLock

from judges.base import Score

BUSY_S = 5.0  # another writer is waited for so long
LOG = logging.getLogger(__name__)


def default_folder() -> Path:
    """`$ONLINE_RL_CACHE/judges`, else `~/.cache/online-rl/judges`."""
    return Path(os.path.expanduser(os.environ.get("ONLINE_RL_CACHE") or "~/.cache/online-rl")) / "judges"


def cache_key(**what: Any) -> str:
    """One key for everything that a score depends on (JSON values)."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


class ScoreCache:
    """Scores by key, in SQLite (diskcache), safe under concurrent processes and threads; at most `limit` bytes.

    `get` gives None for what is not there or cannot be read. A database that is none is moved aside and begun anew.
    The folder is the user's alone: a score's `detail` quotes reports.
    """

    def __init__(self, folder: Path, limit: int = 2**30) -> None:
        self.folder = folder
        self.limit = limit
        self.damaged = 0
        self._cache: diskcache.Cache | None = None
        try:
            self._cache = self._open()
        except (OSError, sqlite3.OperationalError) as problem:  # full or read-only disk, locked
            self._log(f"cannot be used ({type(problem).__name__}); going on without it")
        except sqlite3.DatabaseError as problem:
            self._begin_anew(problem)

    def _open(self) -> diskcache.Cache:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # JSON, not pickle: a file that somebody else wrote must not run code here.
        return diskcache.Cache(
            str(self.folder), timeout=BUSY_S, disk=diskcache.JSONDisk, size_limit=self.limit, disk_compress_level=1
        )

    def _begin_anew(self, problem: Exception) -> None:
        """Move the damaged files aside, once for all processes that find them."""
        self.damaged += 1
        try:
            with FileLock(f"{self.folder}.lock", timeout=60):
                try:
                    self._cache = self._open()  # another process may have begun it anew
                    if self._cache._sql("PRAGMA quick_check(1)").fetchone() == ("ok",):
                        return
                    raise sqlite3.DatabaseError
                except sqlite3.DatabaseError:
                    aside = self.folder.with_name(f"{self.folder.name}.damaged-{time.time_ns()}")
                    self.folder.rename(aside)
                    self._cache = self._open()
            self._log(f"is damaged ({type(problem).__name__}); moved to {aside} and begun anew")
        except (OSError, sqlite3.Error) as again:
            self._cache = None
            self._log(f"is damaged and cannot be begun anew ({type(again).__name__}); going on without it")

    def get(self, key: str) -> Score | None:
        entry = self._try(lambda cache: cache.get(key))
        if entry is None:
            return None
        try:
            return Score(float(entry["value"]), parts=_numbers(entry["parts"]), detail=str(entry["detail"]))
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            self.damaged += 1
            self._log(f"holds an entry that is not a score ({type(problem).__name__}); scoring that case again")
            return None

    def put(self, key: str, score: Score) -> None:
        """Keep a scored case; others may be better next time."""
        if score.value is not None:
            entry = {"value": score.value, "parts": score.parts, "detail": score.detail}
            self._try(lambda cache: cache.set(key, entry))

    def _try(self, action: Any) -> Any:
        if self._cache is None:
            return None
        try:
            return action(self._cache)
        except diskcache.Timeout:
            return None  # busy: as if it were not there
        except sqlite3.OperationalError as problem:  # full or read-only disk, locked
            self._log(f"could not be used ({type(problem).__name__}); going on without that entry")
        except sqlite3.DatabaseError as problem:
            self._begin_anew(problem)
        except (OSError, ValueError, EOFError, TypeError, zlib.error) as problem:
            self.damaged += 1
            self._log(f"holds an entry that cannot be read ({type(problem).__name__}); scoring that case again")
        return None

    def _log(self, what: str) -> None:
        LOG.warning("judge cache %s %s.", self.folder, what)

    def close(self) -> None:
        if self._cache is not None:
            with contextlib.suppress(sqlite3.Error):
                self._cache.close()


def _numbers(parts: dict[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in parts.items()}
