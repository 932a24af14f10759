"""LoRA on the policy: adapters inside the model, merged weights for the engine, adapters alone on disk.

Hu et al., arXiv 2106.09685: a frozen weight W (out, in) acts as W + (alpha / r) B A with trained A (r, in) and
B (out, r), B zero at the start. W itself is never written to: merging makes a new tensor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from online_rl.config.model import Config
from online_rl.errors import CheckpointError, ConfigError
from online_rl.policy.passes.vision_cut import PROJECTOR, VISION
from online_rl.policy.zero import Recipe, copied, same_sums, sums

ADAPTER = "default"  # peft's name of a model's only adapter
FOLDER, WEIGHTS, SETTINGS, BASE = "adapter", "adapter_model.safetensors", "adapter_config.json", "base.json"
PEFT_PREFIX = "base_model.model."  # as peft calls the model that it wraps
SHOWN = 12  # names in a message


def language_layers(model: nn.Module) -> list[str]:
    """Names of the linear layers of the language part, without its output layer."""
    linear = [name for name in _linear(model) if not _is_in(name, VISION)]
    return [name for name in linear if not any(word in name for word in PROJECTOR)]  # LLaVA's: multi_modal_projector


def _linear(model: nn.Module) -> list[str]:
    head = getattr(model, "lm_head", None)
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head]


def targets(model: nn.Module, cfg: Config) -> list[str]:
    """Names of the linear layers that get an adapter.

    Raises ConfigError, listing the possible names, if an entry of `target_modules` is the end of no layer's name.
    """
    linear, wanted = _linear(model), cfg.model.lora.target_modules
    vision = [name for name in linear if _is_in(name, VISION) and not _is_in(name, PROJECTOR)]
    possible = [name for name in linear if name not in vision] if cfg.model.freeze_vision else linear
    if wanted is None:
        return language_layers(model) if cfg.model.freeze_vision else possible
    for end in wanted:
        if any(_ends(name, end) for name in possible):
            continue
        frozen = " (in the vision encoder alone, which model.freeze_vision=true freezes)"
        raise ConfigError(
            f"model.lora.target_modules: found {end!r}, which ends the name of no linear layer of "
            f"{type(model).__name__}{frozen if any(_ends(name, end) for name in vision) else ''}, expected some of: "
            f"{', '.join(_last_words(possible))}. Correct it, or set target_modules to null for the language part."
        )
    return [name for name in possible if any(_ends(name, end) for end in wanted)]


def _is_in(name: str, words: tuple[str, ...]) -> bool:
    return any(word in words for word in name.split("."))


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _last_words(names: list[str]) -> list[str]:
    words = sorted({name.rpartition(".")[2] for name in names})
    return [*words[:SHOWN], "..."] if len(words) > SHOWN else words


def check_targets(model_path: str, cfg: Config) -> None:
    """Check `target_modules` on the architecture alone, before any weight is loaded. Raises ConfigError."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    hub = {"trust_remote_code": cfg.model.trust_remote_code}
    config = AutoConfig.from_pretrained(model_path, revision=cfg.model.revision, **hub)
    with torch.device("meta"):
        targets(AutoModelForImageTextToText.from_config(config, **hub), cfg)


def add_adapters(model: nn.Module, cfg: Config) -> None:
    """Add an adapter to every target, in model.dtype and equal on every rank, and freeze everything else."""
    from peft import LoraConfig, inject_adapter_in_model

    lora, path = cfg.model.lora, cfg.model.path
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets(model, cfg),
        # The path of a local folder must not leave this machine with the adapter.
        base_model_name_or_path=Path(path).name if Path(path).exists() else path,
        revision=cfg.model.revision,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(cfg.run.seed)
        inject_adapter_in_model(config, model)
    dtype = getattr(torch, cfg.model.dtype)  # peft makes them float32; ZeRO-3 keeps float32 masters itself
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)


def adapted(model: nn.Module) -> dict[str, Any]:
    """Name -> layer, of every layer that has an adapter."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def plain(name: str) -> str:
    """The name of a base parameter in the model without adapters."""
    return name.replace(".base_layer.", ".")


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """Run the base as it was loaded, within the block.

    The adapters get a factor of 0 and are not left out: ZeRO-3 fetches weights in the order of earlier passes, and
    peft's own switch would also stop their training.
    """
    layers = adapted(model).values()
    before = [layer.scaling[ADAPTER] for layer in layers]
    try:
        for layer in layers:
            layer.scaling[ADAPTER] = 0.0
        yield
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling[ADAPTER] = scaling


def merge(weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """W + (alpha / r) B A, summed in float32 and rounded once; W is unchanged.

    weight (out, in); a (r, in); b (out, r); returns (out, in) in the dtype of `weight`
    """
    return (weight.detach().float() + scaling * (b.detach().float() @ a.detach().float())).to(weight.dtype)


def recipes(model: nn.Module, disk_names: Mapping[str, str], only_changed: bool) -> Iterator[Recipe]:
    """The policy's tensors as they are stored on disk, adapters merged.

    only_changed  leave out what the adapters cannot have changed. Neighbours of a changed layer are included (v_proj
                  with q_proj): an engine that holds them as one tensor needs all of its parts.
    """
    layers = adapted(model)
    parents = {name.rpartition(".")[0] for name in layers}
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            continue
        on_disk, owner = disk_names[plain(name)], plain(name).rpartition(".")[0]
        layer = layers.get(owner)
        if layer is not None and name.endswith(".weight"):
            a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
            scaling = layer.scaling[ADAPTER]
            yield Recipe(on_disk, (parameter, a, b), lambda w, a, b, scaling=scaling: merge(w, a, b, scaling))
        elif not only_changed or (owner.rpartition(".")[0] in parents and _is_linear(model, owner)):
            yield Recipe(on_disk, (parameter,), copied)


def _is_linear(model: nn.Module, name: str) -> bool:
    from peft.tuners.lora import LoraLayer

    return isinstance(model.get_submodule(name), nn.Linear | LoraLayer)


def adapter_recipes(model: nn.Module) -> Iterator[Recipe]:
    """The adapters' own tensors under the names that peft reads."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            yield Recipe(PEFT_PREFIX + name.replace(f".{ADAPTER}.", "."), (parameter,), copied)


def save_adapter(folder: Path, tensors: Mapping[str, Tensor], model: nn.Module, base: list[float]) -> None:
    """Write a folder that `peft.PeftModel.from_pretrained` loads onto the base, and the `sums` of that base.

    Raises OSError if it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    try:
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    except SafetensorError as problem:
        raise OSError(str(problem)) from problem
    config = model.peft_config[ADAPTER]  # type: ignore[index,union-attr]
    settings = config.to_dict() | {"inference_mode": True, "task_type": "CAUSAL_LM"}
    settings = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
    (folder / SETTINGS).write_text(json.dumps(settings, indent=2, sort_keys=True))
    (folder / BASE).write_text(json.dumps({"sums": base}))


def merged_weights(base: nn.Module, adapter: Path) -> dict[str, Tensor]:
    """Name in memory -> tensor of `base` with the adapter of that folder merged; `base` is unchanged.

    Raises CheckpointError if the adapter belongs to another model, or to other weights of it.
    """
    from safetensors.torch import load_file

    try:
        tensors = load_file(adapter / WEIGHTS)
        settings = json.loads((adapter / SETTINGS).read_text())
        known = json.loads((adapter / BASE).read_text())["sums"]
    except (OSError, ValueError) as problem:
        raise CheckpointError(f"{adapter}: cannot be read ({type(problem).__name__}).") from None
    scaling = settings["lora_alpha"] / settings["r"]
    weights: dict[str, Tensor] = {name: p.detach() for name, p in base.named_parameters()}
    for key in [key for key in tensors if key.endswith(".lora_A.weight")]:
        layer = key.removeprefix(PEFT_PREFIX).removesuffix(".lora_A.weight")
        name, a, b = f"{layer}.weight", tensors[key], tensors[key.replace("lora_A", "lora_B")]
        if name not in weights or weights[name].shape != (len(b), a.shape[1]):
            raise CheckpointError(
                f"{adapter}: its adapter of {layer} does not fit {type(base).__name__}: it belongs to another model."
            )
        weights[name] = merge(weights[name], a, b, scaling)
    if not same_sums(known, sums(base.parameters())):
        raise CheckpointError(
            f"{adapter}: it was trained on other weights than those of model.path now. Make the base what it was "
            "(model.revision)."
        )
    return weights
