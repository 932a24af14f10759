"""The policy's weights under ZeRO-3: loaded, streamed to vLLM, saved, restored, exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from online_rl.algorithms import Algorithm
from online_rl.config import Config, deepspeed_config
from online_rl.errors import CheckpointError
from online_rl.policy import lora
from online_rl.policy.deepspeed import errors_after_barriers, initialize, quiet_deepspeed
from online_rl.policy.load import load_model
from online_rl.policy.model import PolicyModel, freeze_vision
from online_rl.policy.names import disk_names
from online_rl.policy.passes.vision_cut import vision_cut
from online_rl.policy.ref_model import RefModel
from online_rl.policy.zero import SHARDS, Recipe, copied, frozen_sums, gathered, same_sums
from online_rl.ranks import collectives


class Weights:
    """The weights that learn, and a frozen ref_model if the algorithm needs one.

    engine   DeepSpeed's engine of the policy
    version  the number of optimiser steps applied
    """

    model_class: ClassVar[type[PolicyModel]] = PolicyModel

    def __init__(
        self,
        model_path: str,
        cfg: Config,
        algorithm: Algorithm,
        banned_ids: list[int],
        ref_path: str | None = None,
    ) -> None:
        """ref_path  the ref_model's folder or name; None = that of the policy"""
        self.cfg, self.algorithm = cfg, algorithm
        self.version = 0
        self._ds_config = deepspeed_config(cfg, collectives.world_size())
        self._banned = banned_ids
        self.adapters = bool(cfg.model.lora.rank)
        if self.adapters:
            lora.check_targets(model_path, cfg)
        model = load_model(model_path, cfg, self._ds_config)
        if cfg.model.freeze_vision:
            freeze_vision(model)
        if cfg.model.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.disk_names = disk_names(model)
        if self.adapters:
            lora.add_adapters(model, cfg)
        self.engine = self._engine_of(model, self._ds_config)
        self.engine.train()
        self._base = frozen_sums(self.engine.module) if self.adapters else []
        self.ref_model = self._make_ref_model(model_path, ref_path) if algorithm.needs_ref_model else None

    def _engine_of(self, model: torch.nn.Module, ds_config: dict[str, Any]) -> Any:
        wrapped = self.model_class(model, self._banned, self.cfg.rollout.temperature)
        wrapped.cut = vision_cut(model) if self.cfg.debug.image_features_once else None
        return initialize(wrapped, ds_config)

    def _make_ref_model(self, model_path: str, ref_path: str | None) -> RefModel:
        """The policy without its adapters, or a frozen copy under ZeRO-3."""
        settings, engine = self.cfg.ref_model, self.engine
        if not self.adapters or ref_path:
            ds_config = {k: v for k, v in self._ds_config.items() if k != "optimizer"}
            if settings.offload == "cpu" and torch.cuda.is_available():
                offload = {"offload_param": {"device": "cpu", "pin_memory": True}}
                ds_config["zero_optimization"] = ds_config["zero_optimization"] | offload
            model = load_model(ref_path or model_path, self.cfg, ds_config)  # puts each shard where it stays
            model.requires_grad_(False)
            engine = self._engine_of(model, ds_config)
            engine.eval()
            if ref_path:
                engine.module.cut = None  # its encoder may be another, so it encodes images itself
        return RefModel(engine, self.engine, settings)

    def trained_weights(self) -> Iterator[tuple[str, Tensor]]:
        """(name on disk, whole tensor) of everything that training changes, the same on every rank; adapters merged.

        Tensors are gathered bucket by bucket, so that only one bucket exists whole at a time. Every rank must take all
        of them, as the loop does:

            engine.load_weights(policy.trained_weights(), policy.version)

        Two ranks whose shards of a trained weight w (2, 2) are [1, 2] and [3, 4] both yield

            ("w", [[1, 2], [3, 4]])

        With adapters, a frozen w = [[1, 0], [0, 1]] beside trained A = [[1, 1]] and B = [[0.5], [0]], alpha / r = 2, is
        sent as w + 2 B A:

            ("w", [[2, 1], [0, 1]])
        """
        return self._gathered(self._recipes(only_changed=True))

    def all_weights(self) -> Iterator[tuple[str, Tensor]]:
        """The same of every weight, the frozen ones too. Every rank must take all of them."""
        return self._gathered(self._recipes(only_changed=False))

    def _recipes(self, only_changed: bool) -> Iterator[Recipe]:
        model = self.engine.module.hf
        if self.adapters:
            return lora.recipes(model, self.disk_names, only_changed)
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad or not only_changed]
        return (Recipe(self.disk_names[name], (parameter,), copied) for name, parameter in named)

    def _gathered(self, recipes: Iterator[Recipe]) -> Iterator[tuple[str, Tensor]]:
        bucket = self._ds_config["zero_optimization"]["stage3_prefetch_bucket_size"]  # elements
        return gathered(recipes, bucket * getattr(torch, self.cfg.model.dtype).itemsize)

    def save(self, folder: Path) -> None:
        """Write weights, optimiser states, version and what the algorithm adapted to `folder`; every rank its shard.

        Of a policy with adapters only these are written, as shards and again in peft's format. Every rank must call.
        """
        adapter = self._adapter()  # gathered by all ranks before one of them may meet a full disk
        state = {"version": self.version, "algorithm": self.algorithm.state_dict(), "base": self._base}
        with quiet_deepspeed(), errors_after_barriers(self.engine):
            self.engine.save_checkpoint(
                str(folder),
                tag=SHARDS,
                client_state=state,
                save_latest=False,
                exclude_frozen_parameters=self.adapters,
            )
        self._save_adapter(adapter, folder / lora.FOLDER)
        if self.ref_model is not None:
            self.ref_model.save(folder)

    def _adapter(self) -> dict[str, Tensor]:
        """The whole adapters, on every rank; empty if there are none."""
        return dict(self._gathered(lora.adapter_recipes(self.engine.module.hf))) if self.adapters else {}

    def _save_adapter(self, tensors: dict[str, Tensor], folder: Path) -> None:
        if tensors and collectives.rank() == 0:
            lora.save_adapter(folder, tensors, self.engine.module.hf, self._base)

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote. Every rank must call.

        Raises CheckpointError if DeepSpeed finds nothing, or if the adapters belong to another base.
        """
        with quiet_deepspeed():
            loaded, state = self.engine.load_checkpoint(str(folder), tag=SHARDS, load_module_strict=not self.adapters)
        if loaded is None:
            raise CheckpointError(f"{folder}: DeepSpeed found no shards named {SHARDS!r} for this number of ranks.")
        if not same_sums(state.get("base", []), self._base):
            raise CheckpointError(
                f"{folder}: its adapters were trained on other weights than those of model.path={self.cfg.model.path!r}"
                " now. Make the base what it was (model.revision), or start a new run.dir."
            )
        self.version = int(state["version"])
        self.algorithm.load_state_dict(state["algorithm"])
        if self.ref_model is not None:
            self.ref_model.load(folder)

    def export(self, folder: Path, processor: Any) -> None:
        """Write the policy as a Hugging Face folder (safetensors, config, processor), its adapters in a folder inside.

        Rank 0 writes; all ranks must call. Ranks wait for each other before the first byte is written, and no longer.
        """
        model = self.engine.module.hf
        state = {}
        adapter = self._adapter()
        for name, tensor in self.all_weights():
            if collectives.rank() == 0:  # one whole copy, in CPU memory
                state[name] = tensor.contiguous().cpu()
        if collectives.rank() == 0:
            from safetensors.torch import save_file

            folder.mkdir(parents=True, exist_ok=True)
            self._save_adapter(adapter, folder / lora.FOLDER)
            save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
            model.config.save_pretrained(folder)
            if getattr(model, "generation_config", None) is not None:
                model.generation_config.save_pretrained(folder)
            processor.save_pretrained(folder)
            (folder / "online_rl.json").write_text(json.dumps({"policy_version": self.version}))
