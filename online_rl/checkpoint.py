"""Checkpoints that are whole or are not there: written aside, renamed, and marked complete after a barrier.

checkpoints/step-12.partial/   being written
checkpoints/step-12/           renamed; still not trusted
checkpoints/step-12/complete   the marker: sizes and SHA-256 of every file
checkpoints/best.json          which step is the best so far; its checkpoint stays, however old
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from online_rl.config import Config
from online_rl.errors import CheckpointError, ConfigError
from online_rl.provenance import Provenance
from online_rl.ranks import collectives
from online_rl.same_run import refuse_another_run
from online_rl.whole_file import whole_file

MARKER, STATE, BEST = "complete", "state.json", "best.json"
ANOTHER = "Copy it again, or name another checkpoint."


@dataclass(frozen=True)
class Best:
    """The step whose evaluation was the best so far, by `eval.metric_for_best_model`."""

    step: int
    metric: str
    value: float


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint. `state` is what the loop saved beside the policy."""

    folder: Path
    step: int
    state: dict[str, Any]


def save(
    run_dir: Path, step: int, policy: Any, state: dict[str, Any], cfg: Config, with_files: Sequence[Files] = ()
) -> Path:
    """Write `checkpoints/step-<step>`. All ranks call it. Raises CheckpointError on all of them when one cannot write;
    older checkpoints stay as they are."""
    root = run_dir / "checkpoints"
    final, partial = root / f"step-{step}", root / f"step-{step}.partial"
    # Saved by this run already; one that a resume passed over as damaged is written anew.
    if collectives.gather(collectives.rank() == 0 and _is_whole(final))[0]:
        return final
    with written(partial):
        if collectives.rank() == 0:
            for leftover in (partial, final):
                shutil.rmtree(leftover, ignore_errors=True)
            partial.mkdir(parents=True)
            content = {"step": step, "world_size": collectives.world_size(), **state}
            content["config"] = cfg.model_dump(mode="json")
            (partial / STATE).write_text(json.dumps(content, indent=1))
    with written(partial):
        policy.save(partial)
        for part in with_files:
            part.save_files(partial)
    digests: dict[str, list[Any]] = {}
    with written(partial):
        files = sorted(p for p in partial.rglob("*") if p.is_file())
        mine = collectives.every_nth(files)
        digests = {str(p.relative_to(partial)): _fingerprint(p) for p in mine}
    manifest = {name: entry for part in collectives.gather(digests) for name, entry in part.items()}
    with written(partial, final):
        if collectives.rank() == 0:
            os.replace(partial, final)
            with whole_file(final / MARKER) as marker:
                marker.write_text(json.dumps(manifest, indent=1))
    if collectives.rank() == 0:
        _prune(root, cfg.train.keep_checkpoints, just_saved=final)
    return final


@contextmanager
def written(*folders: Path) -> Iterator[None]:
    """Run a part of saving on every rank; if one cannot write, all raise CheckpointError and `folders` are removed.

    RuntimeError and SafetensorError count as well: torch.save and safetensors raise them on a full disk.
    """
    from safetensors import SafetensorError

    try:
        with collectives.together():
            try:
                yield
            except (OSError, RuntimeError, SafetensorError) as problem:
                raise _disk_error(folders[0], problem) from problem
    except Exception:
        if collectives.rank() == 0:
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)
        raise


class Part(Protocol):
    """A part of the run whose state a checkpoint keeps, under names that no other part uses."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class Files(Protocol):
    """A part that keeps files of its own in a checkpoint, beside the state."""

    def save_files(self, folder: Path) -> None: ...
    def load_files(self, folder: Path) -> None: ...


@dataclass
class Checkpoints:
    """Saves and loads the policy together with the state of the run's other parts."""

    cfg: Config
    policy: Any
    parts: Sequence[Part]

    def save(self, step: int) -> Path:
        """Write the checkpoint of `step`; one that is there already is left as it is. Raises CheckpointError."""
        state: dict[str, Any] = {"model_is_local": Path(self.cfg.model.path).exists()}  # else a name on the hub
        for part in self.parts:
            state |= part.state_dict()
        return save(Path(self.cfg.run.dir), step, self.policy, state, self.cfg, self._with_files)

    def load(self, found: Checkpoint) -> None:
        """Give policy and parts the state that `found` holds."""
        self.policy.load(found.folder)
        for part in self.parts:
            part.load_state_dict(found.state)
        for files in self._with_files:
            files.load_files(found.folder)

    @property
    def _with_files(self) -> list[Files]:
        return [part for part in self.parts if isinstance(part, Files)]

    def folder(self, step: int) -> Path:
        return Path(self.cfg.run.dir) / "checkpoints" / f"step-{step}"

    def name_best(self, best: Best | None) -> None:
        """Write down which checkpoint is the best, so that it is not removed before a better one is there."""
        name_best(Path(self.cfg.run.dir), best)


def find(cfg: Config, warn: Any, seen: Provenance | None = None) -> Checkpoint | None:
    """The checkpoint that `resume` asks for, verified; None if there is none to continue from.

    seen  what this launch would train with, compared with the checkpoint's

    resume=auto passes over damaged ones with a warning. A named one that is damaged, incomplete or of another
    configuration or world size raises CheckpointError, on every rank, and so do ranks that find different ones. All
    ranks call it.
    """
    found = None
    with collectives.together():
        found = _find(cfg, warn, seen)
    steps = collectives.gather(found.step if found else 0)
    if len(set(steps)) > 1:
        each = ", ".join(f"rank {rank} {step or 'none'}" for rank, step in enumerate(steps))
        raise CheckpointError(
            f"resume={cfg.resume}: the ranks find checkpoints of different steps ({each}). Is the run's folder in a "
            "file system that every machine sees, and can each read all of it? Start again, or name one: resume=PATH."
        )
    return found


def _find(cfg: Config, warn: Any, seen: Provenance | None) -> Checkpoint | None:
    if cfg.resume == "never":
        return None
    if cfg.resume != "auto":
        _refuse_another_owner(Path(cfg.resume))
        checkpoint = open_complete(Path(cfg.resume))
        refuse_another_run(checkpoint.folder, checkpoint.state, cfg, warn, seen)
        return checkpoint
    _refuse_another_owner(Path(cfg.run.dir) / "checkpoints")
    newest = find_newest(Path(cfg.run.dir), warn)
    if newest is None:
        warn(f"resume=auto: no complete checkpoint in {Path(cfg.run.dir) / 'checkpoints'}; starting at step 1.")
    else:
        refuse_another_run(newest.folder, newest.state, cfg, warn, seen)
    return newest


def set_later_aside(step: int, run_dir: Path) -> list[str]:
    """Rename what the run saved after `step`, from which it continues, to `abandoned-step-N`. Rank 0 only.

    Nothing then takes its old future, or a damaged checkpoint, for the newest one, by which older ones are removed.
    `step` is 0 if the run starts anew because every checkpoint is damaged. Returns a sentence for each.
    """
    told = []
    for folder in _steps(run_dir / "checkpoints"):
        if int(folder.name[5:]) > step:
            aside = folder.with_name(f"abandoned-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            try:
                os.replace(folder, aside)
            except OSError as problem:
                raise CheckpointError(
                    f"{folder}: cannot be renamed to {aside.name} ({problem.strerror}), and the run continues from "
                    f"step {step}. Remove it, or make its folder writable."
                ) from None
            told.append(f"{folder} lies after step {step}, from which the run continues; kept as {aside.name}.")
    return told


def name_best(run_dir: Path, best: Best | None) -> None:
    """Write which checkpoint is the best, so that none is removed before a better one is there. All ranks call it."""
    root = run_dir / "checkpoints"
    with written(root / f"{BEST}.partial"):
        if collectives.rank() == 0:
            if best is None:
                (root / BEST).unlink(missing_ok=True)
                return
            content = {"step": best.step, "checkpoint": f"step-{best.step}", best.metric: best.value}
            with whole_file(root / BEST) as file:
                file.write_text(json.dumps(content, indent=1) + "\n")


def best_step(run_dir: Path) -> int | None:
    """What `name_best` has written; None without it."""
    try:
        return int(json.loads((run_dir / "checkpoints" / BEST).read_text())["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def best_of(run_dir: Path, records: Iterable[dict[str, Any]], metric: str, greater: bool) -> Best | None:
    """The best evaluation among `records` of metrics.jsonl whose checkpoint is still there and complete."""
    found = [
        Best(record["step"], metric, float(value))
        for record in records
        if isinstance(value := record.get(metric), int | float)
        and (run_dir / "checkpoints" / f"step-{record['step']}" / MARKER).exists()
    ]
    return max(found, key=lambda b: b.value if greater else -b.value, default=None)


def find_newest(run_dir: Path, warn: Any) -> Checkpoint | None:
    """The newest complete checkpoint of a run, verified; damaged ones are passed over with a warning."""
    for folder in reversed(_steps(run_dir / "checkpoints")):
        try:
            return open_complete(folder)
        except CheckpointError as problem:
            warn(f"{problem} Going back to the one before it.")
    return None


def claim_run_folder(cfg: Config) -> None:
    """Refuse a folder that holds another run, and remove what an interrupted save left behind. Rank 0 only."""
    folder = Path(cfg.run.dir)
    used = [name for name in ("metrics.jsonl", "checkpoints", "tensorboard") if (folder / name).exists()]
    if used and cfg.resume == "never":
        raise ConfigError(
            f"run.dir={cfg.run.dir!r} holds a run already ({', '.join(used)}). Go on with it by resume=auto, choose "
            "another run.dir, or remove the folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in (folder / "checkpoints").glob("step-*"):
        if leftover.suffix == ".partial" or not (leftover / MARKER).exists():
            shutil.rmtree(leftover, ignore_errors=True)


def open_complete(folder: Path) -> Checkpoint:
    """The checkpoint in `folder`, every file compared with the marker. Raises CheckpointError."""
    if not (folder / MARKER).exists():
        raise CheckpointError(f"{folder}: no marker {MARKER!r}, so it is unfinished. Name another, or use resume=auto.")
    manifest = _read_json(folder / MARKER)
    for name, expected in manifest.items():
        path = folder / name
        if not path.exists():
            raise CheckpointError(f"{folder}: {name} is missing. {ANOTHER}")
        try:
            found = _fingerprint(path)
        except OSError as problem:
            raise CheckpointError(f"{folder}: {name} cannot be read ({problem.strerror}). {ANOTHER}") from None
        if found != expected:
            raise CheckpointError(f"{folder}: {name} is not what was written (size or SHA-256 differs). {ANOTHER}")
    state = _read_json(folder / STATE)
    return Checkpoint(folder, int(state["step"]), state)


def _refuse_another_owner(folder: Path) -> None:
    """Raise CheckpointError for a folder that another user could have filled.

    DeepSpeed's shards are pickles, which may run code when they are loaded, and whoever can write them can write the
    hashes beside them.
    """
    if not folder.exists():
        return
    found = folder.stat()
    others = found.st_uid not in (0, os.geteuid())
    if others or found.st_mode & 0o002:
        whose = f"belongs to user {found.st_uid}" if others else "can be written by anybody"
        raise CheckpointError(
            f"{folder}: {whose}, and loading the shards in it could run code of theirs. If you trust it, make it yours "
            "alone: cp -r it to another place, or chown and chmod o-w."
        )


def _is_whole(folder: Path) -> bool:
    try:
        open_complete(folder)
    except CheckpointError:
        return False
    return True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"{path}: cannot be read ({type(problem).__name__}). {ANOTHER}") from None


def _steps(root: Path) -> list[Path]:
    """Folders step-N in order of N."""
    found = [p for p in root.glob("step-*") if p.name[5:].isdigit()]
    return sorted(found, key=lambda p: int(p.name[5:]))


def _prune(root: Path, keep: int, just_saved: Path) -> None:
    """Remove what is older than the newest `keep`, never `just_saved` or the one that best.json names.

    `just_saved` is the only one known to be whole: it was read back a moment ago.
    """
    stay = {just_saved.name, f"step-{best_step(root.parent)}"}
    complete = [p for p in _steps(root) if (p / MARKER).exists()]
    for old in complete[:-keep]:
        if old.name not in stay:
            with suppress(OSError):  # one that cannot be removed takes room, and nothing else
                (old / MARKER).unlink(missing_ok=True)  # first: what a removal leaves behind must not be trusted
                shutil.rmtree(old, ignore_errors=True)


def _fingerprint(path: Path) -> list[Any]:
    with path.open("rb") as file:
        return [os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()]


def _disk_error(folder: Path, problem: Exception) -> CheckpointError:
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free / 2**30
    reason = getattr(problem, "strerror", None) or str(problem).partition("\n")[0] or type(problem).__name__
    return CheckpointError(
        f"{folder}: cannot be written ({reason}; {free:.2f} GiB free). Older checkpoints are untouched. Free some "
        "space or move run.dir, and start again with resume=auto."
    )
