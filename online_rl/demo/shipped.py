"""The demo policies that come with the package: one set of half-precision weights, and the layers with the habits.

policies/
  base.safetensors    the policy without habits
  habits.safetensors  the tensors of the start with habits that differ from it
  about.json          what they were made from; the prompt that they are tied to
  and the files of any policy's folder: config, tokenizer, processor, chat template
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "policies"
START, NO_HABITS = NAMES = ("demo", "demo-no-habits")  # as model.path names them
BASE, HABITS, ABOUT = "base.safetensors", "habits.safetensors", "about.json"


def prompt() -> str:
    """The prompt that the shipped policies were taught with."""
    return json.loads((FOLDER / ABOUT).read_text(encoding="utf-8"))["prompt"]


def fingerprint(name: str) -> str:
    """A hash of the policy's name and all files that it comes from."""
    digest = hashlib.sha256(name.encode())
    for file in sorted(FOLDER.iterdir()):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def unpack(name: str, folder: Path, source: Path = FOLDER) -> None:
    """Write the policy called `name` (START or NO_HABITS) as any other policy's folder, in single precision."""
    from safetensors.torch import load_file, save_file

    weights = load_file(source / BASE)
    if name == START:
        weights |= load_file(source / HABITS)
    folder.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.name not in (BASE, HABITS, ABOUT):
            shutil.copyfile(file, folder / file.name)
    whole = {key: tensor.float().contiguous() for key, tensor in weights.items()}
    save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})


def write_base(folder: Path, model, processor, about: Mapping[str, Any]) -> None:
    """Write the policy without habits; what `folder` held before is removed."""
    from online_rl.demo.policy import save_policy

    shutil.rmtree(folder, ignore_errors=True)
    save_policy(folder, model, processor)
    (folder / "model.safetensors").unlink()
    _save(folder / BASE, _half(model))
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def write_habits(folder: Path, model) -> None:
    """Write those tensors of the start with habits that differ from the policy already in `folder`."""
    from safetensors.torch import load_file

    base = load_file(folder / BASE)
    _save(folder / HABITS, {key: tensor for key, tensor in _half(model).items() if not tensor.equal(base[key])})


def _half(model) -> dict[str, Any]:
    return {key: tensor.detach().half().contiguous() for key, tensor in model.state_dict().items()}


def _save(path: Path, tensors: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file(tensors, path)
    path.chmod(0o644)
