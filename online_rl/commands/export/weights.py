"""A checkpoint's tensors, written under the names of `save_pretrained` and compared with what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from online_rl.errors import CheckpointError, ConfigError
from online_rl.policy import lora
from online_rl.policy.load import quiet_transformers
from online_rl.policy.names import disk_names
from online_rl.policy.zero import saved_weights


def checkpoint_weights(folder: Path, origin: str, cfg: Any) -> Mapping[str, Any]:
    """Name in memory -> what gives the policy's whole tensor by `.contiguous()`, as the checkpoint in `folder` has it:
    put together from its shards, or the base at `origin` with the checkpoint's adapter merged. Raises CheckpointError.
    """
    if not cfg.model.lora.rank:
        return saved_weights(folder)
    return lora.merged_weights(_load(origin, cfg), folder / lora.FOLDER)


def load_policy(source: str, weights: Mapping[str, Any], cfg: Any) -> torch.nn.Module:
    """The architecture of `source` with every parameter taken from `weights`, in `model.dtype`, on the CPU."""
    model = _load(source, cfg)
    parameters = dict(model.named_parameters())
    absent = sorted(parameters.keys() - weights.keys())
    if absent:
        raise CheckpointError(
            f"the checkpoint lacks {len(absent)} of {len(parameters)} parameters of {source!r} ({absent[0]} ...): it "
            "belongs to another model."
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            whole = weights[name].contiguous()
            if whole.shape != parameter.shape:
                raise CheckpointError(
                    f"{name}: found shape {tuple(whole.shape)} in the checkpoint, expected {tuple(parameter.shape)} as "
                    f"in {source!r}: it belongs to another model."
                )
            parameter.copy_(whole)
    return model


def _load(source: str, cfg: Any) -> torch.nn.Module:
    from transformers import AutoModelForImageTextToText

    try:
        with quiet_transformers():
            return AutoModelForImageTextToText.from_pretrained(
                source,
                revision=None if Path(source).is_dir() else cfg.model.revision,
                dtype=getattr(torch, cfg.model.dtype),
                trust_remote_code=cfg.model.trust_remote_code,
            )
    except (OSError, ValueError) as problem:
        reason = str(problem).partition("\n")[0]
        raise ConfigError(
            f"model.path: the architecture of {source!r} cannot be loaded ({reason}). Make the base model reachable."
        ) from problem


def compare(folder: Path, weights: Mapping[str, Any], model: torch.nn.Module, dtype: torch.dtype) -> int:
    """Every tensor of the safetensors in `folder` against the checkpoint's, bit by bit in `dtype`.

    Returns how many agree. Raises CheckpointError for one that differs, is missing, or belongs to neither the
    checkpoint nor the model's buffers.
    """
    expected = {on_disk: name for name, on_disk in disk_names(model).items()}
    others = model.state_dict()
    found = 0
    for name, tensor in tensors_on_disk(folder):
        if name in expected:
            whole = weights[expected.pop(name)].contiguous().to(dtype)
        elif name in others:  # a buffer, or the second name of tied weights
            whole = others[name].to(tensor.dtype)
        else:
            raise CheckpointError(f"{folder}: holds {name}, which the checkpoint does not. Export it again.")
        if tensor.dtype != whole.dtype or not torch.equal(tensor, whole):
            raise CheckpointError(f"{folder}: {name} is not what the checkpoint holds. Export it again.")
        found += 1
    if expected:
        raise CheckpointError(f"{folder}: lacks {len(expected)} tensors ({min(expected)} ...). Export it again.")
    return found


def tensors_on_disk(folder: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                yield name, file.get_tensor(name)
