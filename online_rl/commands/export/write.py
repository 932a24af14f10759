"""The export itself: written aside, compared, loaded by transformers and vLLM, and only then given its name."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from online_rl import checkpoint
from online_rl.config import Config, config_from_dict
from online_rl.config.migrate import migrate
from online_rl.errors import CheckpointError, ConfigError
from online_rl.paths import is_inside

TRY_OUT_LIMIT_S = 1800.0  # an 8B model from a slow disk, loaded twice
LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # of a launcher around us


def export(source: Path, output: Path, with_vllm: bool = True, say: Callable[[str], Any] = lambda line: None) -> Path:
    """Write the newest checkpoint of a run, or one named checkpoint, to `output` as a Hugging Face folder.

    source     a run folder, or a folder checkpoints/step-N
    output     must not exist, or be empty; it appears only when everything has been checked
    with_vllm  False leaves out the trial by vLLM, and the model card says so
    say        called with each line that says what was done

    Raises CheckpointError or ConfigError; nothing half-written is left behind.
    """
    source, output = Path(source), Path(output).resolve()  # "." has no name that the folder beside it could have
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"--output: {output} exists and is not an empty folder. Name another, or remove it.")
    found, run_dir = _find(source, say)
    cfg = _configuration(found)
    if is_inside(output, found.folder.parent):
        raise ConfigError(
            f"--output: {output} lies among the checkpoints of the run, which removes what is none. Name another."
        )
    say(f"checkpoint  {found.folder}, step {found.step}, every file as written")
    partial = output.with_name(f".{output.name}.partial")
    with _aside(partial):
        _write(found, run_dir, cfg, partial, with_vllm, say)
        if output.exists():
            if output == Path.cwd():
                say(f"note: {output} is made anew; `cd .` shows it to a shell that stands there")
            output.rmdir()
        os.replace(partial, output)
    return output


def _find(source: Path, say: Callable[[str], Any]) -> tuple[checkpoint.Checkpoint, Path]:
    if not source.is_dir():
        raise CheckpointError(f"{source}: no such folder; expected a run folder, or its checkpoints/step-N.")
    if (source / checkpoint.STATE).exists() or (source / checkpoint.MARKER).exists():
        return checkpoint.open_complete(source), source.resolve().parent.parent
    newest = checkpoint.find_newest(source, lambda problem: say(f"warning: {problem}"))
    if newest is None:
        raise CheckpointError(
            f"{source}: no complete checkpoint in {source / 'checkpoints'}; expected a run folder, or its "
            "checkpoints/step-N. Wait for the first save (train.save_every), or stop the run by SIGTERM, which saves."
        )
    best = checkpoint.best_step(source)
    if best not in (None, newest.step):
        say(f"note: checkpoints/{checkpoint.BEST} names step {best}; for that one, export checkpoints/step-{best}.")
    return newest, source


def _configuration(found: checkpoint.Checkpoint) -> Config:
    try:
        return config_from_dict(migrate(found.state["config"] | {"resume": "never"}, checkpoint=True).data)
    except (ConfigError, KeyError, TypeError) as problem:
        raise CheckpointError(
            f"{found.folder}: its configuration does not load, so another version of online-rl wrote it. Export it "
            f"with that version. {problem}"
        ) from None


def _write(
    found: checkpoint.Checkpoint, run_dir: Path, cfg: Config, partial: Path, with_vllm: bool, say: Callable[[str], Any]
) -> None:
    import torch
    from transformers.utils import logging

    from online_rl.commands.export.card import model_card
    from online_rl.commands.export.weights import checkpoint_weights, compare, load_policy
    from online_rl.policy import lora
    from online_rl.policy.load import quiet_transformers

    logging.set_verbosity_error()  # it comments on what the run has lived with
    origin = _architecture(cfg, run_dir)
    weights = checkpoint_weights(found.folder, origin, cfg)
    model: Any = load_policy(origin, weights, cfg)
    _refuse_a_small_disk(partial.parent, sum(p.numel() * p.element_size() for p in model.parameters()))
    with quiet_transformers():
        model.save_pretrained(partial)
    _processor(origin, cfg).save_pretrained(partial)
    count = compare(partial, weights, model, getattr(torch, cfg.model.dtype))
    say(f"weights     {count} tensors in {cfg.model.dtype}, each as in the checkpoint")
    if cfg.model.lora.rank:
        shutil.copytree(found.folder / lora.FOLDER, partial / lora.FOLDER)
        say(f"adapter     {lora.FOLDER}/, as peft reads it; the weights above have it merged")
    del model, weights  # the trial needs the memory
    trial = try_out(partial, cfg, with_vllm)
    say(f"loaded by   {trial['by']}")
    (partial / "README.md").write_text(model_card(found, run_dir, cfg, trial), encoding="utf-8")
    _sync_to_disk(partial)


def _architecture(cfg: Config, run_dir: Path) -> str:
    """The folder of the model's classes, processor and generation config; every weight is the checkpoint's.

    A finished run's own copy first: a name on the hub may have moved on since. With adapters the base itself, whose
    weights are needed too.
    """
    if not cfg.model.lora.rank and (run_dir / "model" / "config.json").is_file():
        return str(run_dir / "model")
    from online_rl.demo.prepare import prepare

    return str(prepare(cfg).policy or cfg.model.path)


def _processor(origin: str, cfg: Config) -> Any:
    from transformers import AutoProcessor

    revision = None if Path(origin).is_dir() else cfg.model.revision
    return AutoProcessor.from_pretrained(origin, revision=revision, trust_remote_code=cfg.model.trust_remote_code)


def try_out(folder: Path, cfg: Config, with_vllm: bool) -> dict[str, Any]:
    """Try the folder out in a process of its own, and return `by` (versions) and, with vLLM, `difference` in nats.

    The process gives back the memory of both loads when it ends. Raises CheckpointError when it fails.
    """
    command = [
        sys.executable,
        "-m",
        "online_rl.commands.export.try_out",
        str(folder),
        *(["--vllm"] if with_vllm else []),
    ]
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHER}
    try:
        done = subprocess.run(
            command,
            input=json.dumps(cfg.model_dump(mode="json")),
            env=environment,
            capture_output=True,
            text=True,
            timeout=TRY_OUT_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise CheckpointError(f"{folder}: did not load within {TRY_OUT_LIMIT_S:g} s. Nothing was exported.") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing was said"]
        raise CheckpointError(
            f"{folder}: the export does not load: {said[-1].removeprefix('error: ')} Nothing was exported. Where only "
            "vLLM cannot run on this machine, --without-vllm leaves it out."
        )
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def _aside(partial: Path) -> Iterator[None]:
    """Make `partial` for the block, and remove it when the block did not end with its renaming."""
    from safetensors import SafetensorError

    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield
    except Exception as problem:
        # The tokenizer's writer raises a bare Exception that ends in "(os error 28)".
        if not isinstance(problem, OSError | SafetensorError) and "(os error " not in str(problem):
            raise
        reason = getattr(problem, "strerror", None) or str(problem).partition("\n")[0]
        raise CheckpointError(
            f"--output: {partial.parent} cannot be written ({reason}; {_size(_free(partial.parent))} free). "
            "Nothing is left behind. Free some space, or name another place."
        ) from problem
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _refuse_a_small_disk(folder: Path, needed: int) -> None:
    free = _free(folder)
    if free < needed:
        raise CheckpointError(
            f"--output: {folder} has {_size(free)} free, expected at least {_size(needed)} for the weights. Free some "
            "space, or name another place."
        )


def _size(n_bytes: int) -> str:
    """A size in the unit that tells small numbers apart."""
    return f"{n_bytes / 2**30:.2f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:.1f} MiB"


def _free(folder: Path) -> int:
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    return shutil.disk_usage(place).free


def _sync_to_disk(folder: Path) -> None:
    """A full disk may show only when the data leave the cache. Weights are as readable as the rest."""
    for path in filter(Path.is_file, folder.rglob("*")):
        shutil.copymode(folder / "config.json", path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
