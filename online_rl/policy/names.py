"""Names of weights on disk: transformers 5 may use others in memory, and vLLM knows those on disk."""

from __future__ import annotations

from typing import Any

import torch

from online_rl.errors import ConfigError


def disk_names(model: torch.nn.Module) -> dict[str, str]:
    """Name in memory -> name that `save_pretrained` writes, for every parameter.

    Found by sending one number per weight through transformers' own conversion. Raises ConfigError for a model whose
    weights are split or merged on disk, because they cannot be sent one by one.
    """
    from transformers.core_model_loading import revert_weight_conversion

    _forget_unused_conversions(model)
    names = [name for name, _ in model.named_parameters()]
    numbered = {name: torch.tensor([float(i)]) for i, name in enumerate(names)}
    try:
        written = revert_weight_conversion(model, numbered)
    except (IndexError, ValueError, RuntimeError):  # a conversion that splits or merges needs whole weights
        written = {}
    if len(written) != len(names) or any(t.numel() != 1 for t in written.values()):
        raise ConfigError(
            f"model.path: {type(model).__name__} splits or merges weights between memory ({len(names)} tensors) and "
            f"disk, so live weights cannot be sent to vLLM. Such models are not supported."
        )
    return {names[int(tensor.item())]: name for name, tensor in written.items()}


def _forget_unused_conversions(model: Any) -> None:
    """Drop conversions that renamed nothing on loading, so that saving does not undo them.

    `from_pretrained` does so itself, except when it loads into ZeRO-3: then it keeps every conversion that the
    architecture has ever had, including the prefixes of older checkpoints.
    """
    conversions = getattr(model, "_weight_conversions", None)
    if conversions is not None:
        model._weight_conversions = [c for c in conversions if c.was_used()]
