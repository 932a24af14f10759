"""What `online-rl eval` was given: a run, a checkpoint, a model folder, the starting policy, or kept results."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from online_rl import checkpoint
from online_rl.config import Config
from online_rl.errors import CheckpointError, DataError

START = "start"
SCORES, ABOUT = "scores.jsonl", "about.json"
EXPECTED = "a run folder, its checkpoints/step-N, a model folder with config.json, results of this command, or `start`"


@dataclass(frozen=True)
class Policy:
    """A policy that can write reports.

    label     names its folder of results and its column
    path      what vLLM loads: a folder, a name on the hub, or "demo"
    revision  on the hub
    shards    folder of a checkpoint whose weights take the place of those in `path`
    said      how a reader would call it
    """

    label: str
    path: str
    said: str
    revision: str | None = None
    shards: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self, path: str) -> str:
        """Digest of its weights; `path` is what `self.path` stands for on this machine."""
        if self.shards:
            return _digest((Path(self.shards) / checkpoint.MARKER).read_bytes())
        folder = Path(path)
        if not folder.is_dir():
            return f"{path}@{self.revision}"
        files = sorted(p for p in folder.glob("*") if p.suffix in (".safetensors", ".bin", ".json"))
        stamps = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]
        return _digest(json.dumps(stamps).encode())


@dataclass(frozen=True)
class Results:
    """A folder that this command has written for one policy."""

    label: str
    folder: Path


def find_run(text: str) -> Path | None:
    """The run folder that `text` names or lies in (RUN, RUN/model, RUN/checkpoints/step-N)."""
    path = Path(os.path.expanduser(text))
    for folder in (path, path.absolute().parent, path.absolute().parent.parent):
        if (folder / "config.resolved.yaml").is_file():
            return folder
    return None


def find(text: str, cfg: Config, warn: Callable[[str], Any]) -> Policy | Results:
    """The policy or the results that `text` names. Raises CheckpointError or DataError; loads nothing heavy.

    cfg  for `start`: the policy that `model.path` names, with which training begins
    """
    if text == START:
        return Policy(START, cfg.model.path, f"the starting policy, {cfg.model.path}", cfg.model.revision)
    path = Path(os.path.expanduser(text))
    if not path.is_dir():
        there = "is a file" if path.exists() else "is not there"
        raise DataError(f"{path} {there} (looked from {Path.cwd()}). Expected {EXPECTED}.")
    if (path / SCORES).is_file() and (path / ABOUT).is_file():
        return Results(path.resolve().name, path)
    if (path / "config.json").is_file():
        run = find_run(text) if path.name == "model" else None
        return Policy((run or path).resolve().name, str(path), str(path))
    if (path / checkpoint.STATE).exists() or (path / checkpoint.MARKER).exists():
        return _of_checkpoint(checkpoint.open_complete(path))
    if (path / "model" / "config.json").is_file():
        return Policy(path.resolve().name, str(path / "model"), f"{path}, trained to its end")
    if (path / "checkpoints").is_dir() or (path / "metrics.jsonl").is_file():
        newest = checkpoint.find_newest(path, warn)
        if newest is None:
            raise CheckpointError(
                f"{path}: a run without a trained policy yet; found no model/ and no complete checkpoint. Wait for its "
                "first checkpoint (train.save_every), or stop it by SIGTERM, which saves."
            )
        warn(f"{path} has not ended: its newest checkpoint, step {newest.step}, is evaluated.")
        return _of_checkpoint(newest)
    if (path / f"{SCORES}.partial").is_file():
        raise DataError(f"{path}: an evaluation that has not ended. Give the command that began it again.")
    raise DataError(f"{path}: found {_content(path)}, expected {EXPECTED}.")


def _of_checkpoint(found: checkpoint.Checkpoint) -> Policy:
    """Architecture and processor of the base model, weights of the checkpoint."""
    run_dir = found.folder.resolve().parent.parent
    own = run_dir / "model"  # a finished run's own copy first: a name on the hub may have moved on since
    try:
        model = found.state["config"]["model"]
        base, revision = (str(own), None) if (own / "config.json").is_file() else (model["path"], model["revision"])
    except (KeyError, TypeError):
        raise CheckpointError(
            f"{found.folder}: state.json has no model.path, so another version of online-rl wrote it. Evaluate it with "
            "that version."
        ) from None
    label = f"{run_dir.name}-{found.folder.name}"
    return Policy(label, base, f"{found.folder}", revision, str(found.folder))


def _content(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return shown or "an empty folder"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
