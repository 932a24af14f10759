"""Files that are there whole or not at all: written under a temporary name, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def private_folder(folder: Path) -> Path:
    """Make a folder, or take one over, for the user's eyes alone."""
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # another user's, who decides
        folder.chmod(0o700)
    return folder


@contextmanager
def whole_file(path: Path, private: bool = False) -> Iterator[Path]:
    """Give the name to write to; it becomes `path` when the block ends well.

    A block that fails, as on a full disk, leaves what was at `path` before, and nothing else. The temporary name ends
    as `path` does, for writers that go by it. Missing folders are made. The data reach the disk before the renaming, so
    that a full disk shows and a machine that goes down leaves one of the two.

    private  for the user's eyes alone, from its first byte on
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        if private:
            partial.unlink(missing_ok=True)
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
