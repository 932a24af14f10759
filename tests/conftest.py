"""Where the tests find real data: never part of the repository, so tests that need it skip without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# No time limits: a machine with other work is slow, not wrong.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with `data/cxr-notes` and `data/iu-xray`: $ONLINE_RL_SHARED, else `shared` beside the repository."""
    folder = Path(os.environ.get("ONLINE_RL_SHARED") or ROOT.parent / "shared")
    needed = [folder / "data" / "cxr-notes" / "studies.jsonl", folder / "data" / "iu-xray" / "indiana_reports.csv"]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        pytest.skip(f"real data is not here: {', '.join(missing)} (set ONLINE_RL_SHARED)")
    return folder
