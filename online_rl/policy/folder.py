"""A policy's folder on disk: what it is if it is no model, and whether its weights are whole, before a model loads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from online_rl.config.runs import refuse_no_policy
from online_rl.errors import ConfigError

CONFIG, ADAPTER = "config.json", "adapter_config.json"
# In the order in which transformers looks for them; an index names the files of a model in several.
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
LFS_POINTER = b"version https://git-lfs"
SHOWN = 3  # names in a message


def refuse_no_model(path: str, key: str = "model.path") -> None:
    """Raise ConfigError, which begins with `key`, if `path` is on this disk and no model's folder, or cannot be a name
    on the hub and is not there."""
    refuse_no_policy(path, key)
    folder = Path(os.path.expanduser(path))
    if folder.is_file():
        raise ConfigError(f"{key}: {path!r} is a file, expected a model's folder with {CONFIG} and its weights.")
    if not folder.is_dir():
        if path.startswith(("/", "./", "../", "~")) or path.count("/") > 1:
            raise ConfigError(f"{key}: no folder {path!r} (looked from {Path.cwd()}). Correct the path.")
        return
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{key}: {path!r} {_what_it_is(folder)}")
    if _is_pointer(folder / CONFIG):
        raise ConfigError(f"{key}: {folder / CONFIG} {_POINTER}")
    try:
        json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ConfigError(
            f"{key}: {folder / CONFIG} cannot be read as JSON ({type(problem).__name__}). Copy it again."
        ) from None


_POINTER = (
    "is a pointer of Git LFS, not the file itself. Fetch the files: `git lfs pull` in the clone, or `hf download NAME "
    "--local-dir FOLDER`."
)


def _what_it_is(folder: Path) -> str:
    """The rest of a sentence about a folder without config.json, with the remedy."""
    names = sorted(p.name for p in folder.iterdir())
    if ADAPTER in names:
        base = _value(folder / ADAPTER, "base_model_name_or_path")
        return (
            f"is an adapter (LoRA){f' of {base!r}' if base else ''}, expected a whole model. Merge it into its base "
            "first: `PeftModel.from_pretrained(base, adapter).merge_and_unload().save_pretrained(FOLDER)`, and the "
            "base's processor beside it; or name the base and train new adapters (model.lora.rank)."
        )
    if "state.json" in names or ("complete" in names and folder.name.startswith("step-")):
        return (
            f"is a checkpoint of online-rl, expected a model's folder. Write it as one: `online-rl export {folder} "
            "--output FOLDER`; to continue its run, set resume instead."
        )
    if "config.resolved.yaml" in names or "checkpoints" in names:
        if (folder / "model" / CONFIG).is_file():
            return (
                f"is a run's folder, expected a model's. Write run:{folder}, or name {folder / 'model'}, which the run "
                "has trained."
            )
        return f"is a run's folder, expected a model's. Write one: `online-rl export {folder} --output FOLDER`."
    if "zero_to_fp32.py" in names or "latest" in names:
        return (
            "is a checkpoint of DeepSpeed, expected a model's folder. Gather its weights with its zero_to_fp32.py "
            f"(--safe_serialization), and put {CONFIG} and the processor beside them."
        )
    inner = [p.parent for p in sorted([*folder.glob(f"*/{CONFIG}"), *folder.glob(f"snapshots/*/{CONFIG}")])]
    if inner:
        return f"has no {CONFIG}; {inner[-1]} has one. Name that folder."
    found = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "") if names else "nothing"
    return (
        f"has no {CONFIG}, so it is no model's folder; found {found}. Name a folder that save_pretrained has written."
    )


def refuse_broken_weights(path: str, key: str = "model.path") -> None:
    """Raise ConfigError if the folder `path` has no weights, or files that are missing, pointers, or cut. A name on
    the hub is not looked at."""
    folder = Path(os.path.expanduser(path))
    if not folder.is_dir():
        return
    files = _weight_files(folder, key)
    if missing := [name for name in files if not (folder / name).is_file()]:
        names = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        raise ConfigError(
            f"{key}: {path!r} lacks {len(missing)} of its {len(files)} files of weights ({names}). Copy the rest of it."
        )
    for name in files:
        if _is_pointer(folder / name):
            raise ConfigError(f"{key}: {folder / name} {_POINTER}")
        if name.endswith(".safetensors"):
            try:
                with safe_open(folder / name, "pt"):
                    pass
            except (SafetensorError, OSError) as problem:
                raise ConfigError(
                    f"{key}: {folder / name} ({(folder / name).stat().st_size} bytes) is damaged or cut short "
                    f"({problem}). Copy it again."
                ) from None
        elif (folder / name).stat().st_size == 0:
            raise ConfigError(f"{key}: {folder / name} is empty. Copy it again.")


def _weight_files(folder: Path, key: str) -> list[str]:
    """Names of the files that hold the weights, whether they are there or not."""
    found = next((name for name in WEIGHTS if (folder / name).exists()), None)
    if found is None:
        others = sorted(
            p.name for p in folder.iterdir() if p.suffix in (".safetensors", ".bin", ".gguf", ".pt", ".pth")
        )
        beside = f" ({', '.join(others[:SHOWN])} is not read)" if others else ""
        raise ConfigError(
            f"{key}: {str(folder)!r} holds no weights{beside}, expected {WEIGHTS[0]}, or {WEIGHTS[1]} with its files. "
            "Copy them there."
        )
    if not found.endswith(".index.json"):
        return [found]
    if _is_pointer(folder / found):
        raise ConfigError(f"{key}: {folder / found} {_POINTER}")
    named = _value(folder / found, "weight_map")
    if not isinstance(named, dict) or not named:
        raise ConfigError(f"{key}: {folder / found} names no files of weights (`weight_map`). Copy it again.")
    return sorted({str(name) for name in named.values()})


def refuse_other_weights(path: str, model_class: Any, key: str = "model.path", **options: Any) -> None:
    """Raise ConfigError if weights of the folder `path` lack names of its config.json or have other shapes.

    transformers matches them as it does when it loads them, on the meta device, so that no weight is read.
    """
    if not Path(os.path.expanduser(path)).is_dir():
        return
    try:
        _, found = model_class.from_pretrained(
            path, device_map="meta", output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    except Exception as problem:  # whatever transformers meets in files that somebody else wrote
        reason = f"{type(problem).__name__}: {problem}".partition("\n")[0]
        raise ConfigError(f"{key}: the weights of {path!r} cannot be read ({reason}). Copy them again.") from None
    if other := sorted(found["mismatched_keys"]):
        name, has, wants = other[0]
        raise ConfigError(
            f"{key}: {len(other)} weight(s) of {path!r} do not have the shape that its {CONFIG} says: {name} is "
            f"{list(has)}, expected {list(wants)}. Put the {CONFIG} there that belongs to these weights."
        )
    if missing := sorted(found["missing_keys"]):
        raise ConfigError(
            f"{key}: {path!r} lacks {len(missing)} weight(s) that its {CONFIG} says it has ({missing[0]} ...); they "
            "would be random. Copy the whole model, or put the right config.json there."
        )


def _is_pointer(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        return False


def _value(file: Path, name: str) -> Any:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get(name) if isinstance(content, dict) else None
