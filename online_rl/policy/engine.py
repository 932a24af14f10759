"""The trained policy under DeepSpeed ZeRO-3: the only file that knows DeepSpeed. Supports 0.19."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from online_rl.algorithms import Algorithm, LearnBatch, Sums
from online_rl.algorithms.mismatch import mismatch_metrics
from online_rl.config import Config, deepspeed_config
from online_rl.errors import CheckpointError, ConfigError
from online_rl.policy import lora
from online_rl.policy.model import PolicyModel, freeze_vision, without_dropout
from online_rl.policy.names import disk_names
from online_rl.policy.passes.collate import MicroBatch
from online_rl.policy.passes.plan import micro_batches
from online_rl.policy.passes.shared_prompts import agrees, can_share, gap, two_of_one_prompt
from online_rl.policy.passes.token_batch import token_batch, token_metrics
from online_rl.policy.passes.vision_cut import Features, see, vision_cut
from online_rl.policy.quiet import quiet_deepspeed, quiet_transformers
from online_rl.policy.ref_model import RefModel
from online_rl.policy.refusals import not_applied, refuse, studies_of
from online_rl.policy.saving import errors_after_barriers
from online_rl.policy.schedule import learning_rate
from online_rl.policy.zero import SHARDS, Recipe, copied, frozen_sums, gathered, same_sums
from online_rl.ranks import collectives
from online_rl.rollout.types import Completion

SUPPORTED = ("0.19.",)


def init_ranks(cfg: Config) -> None:
    """Join the ranks that the launcher started. Must come before vLLM, which borrows the process group."""
    version = importlib.metadata.version("deepspeed")
    if not version.startswith(SUPPORTED):
        raise ConfigError(f"deepspeed {version} is installed; this release works with {SUPPORTED[0]}x.")
    import deepspeed

    deepspeed.utils.logger.setLevel(logging.WARNING)
    if torch.cuda.is_available():
        torch.cuda.set_device(collectives.local_rank())  # DeepSpeed does so later than the first collective
    if "RANK" not in os.environ:  # no launcher: one rank alone, which DeepSpeed would go and ask MPI about
        alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        os.environ.update(alone, MASTER_PORT=str(collectives.free_port()))
    deepspeed.init_distributed(timeout=timedelta(seconds=cfg.train.collective_timeout_s), verbose=False)
    _unname_shared_memory()


def _unname_shared_memory() -> None:
    """Ranks of one machine without GPUs share buffers (66 MiB each) under names that DeepSpeed never removes.

    Once every rank has opened them the names can go, so that the memory is free when the run ends, however it ends,
    and a relaunch on the same port does not begin in the middle of a killed run's exchange.
    """
    collectives.barrier()
    place = f"{os.getuid()}_{os.environ['MASTER_ADDR']}_{os.environ['MASTER_PORT']}_{collectives.rank()}"
    Path(f"/dev/shm/deepspeed_allreduce_buffer_{place}").unlink(missing_ok=True)


class Policy:
    """The weights that learn, and the frozen ref_model where the algorithm needs one.

    version counts the optimiser steps applied.
    """

    def __init__(self, model_path: str, cfg: Config, algorithm: Algorithm, banned_ids: list[int], pad_id: int) -> None:
        self.cfg, self.algorithm, self.pad_id = cfg, algorithm, pad_id
        self.version = 0
        self.device = collectives.device()
        self._ds_config = deepspeed_config(cfg, collectives.world_size())
        self._banned = banned_ids
        self._farthest = cfg.rollout.max_token_logp_difference
        self.adapters = bool(cfg.model.lora.rank)
        if self.adapters:
            lora.check_targets(model_path, cfg)
        model = self._load(model_path, self._ds_config)
        if cfg.model.freeze_vision:
            freeze_vision(model)
        if cfg.model.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.disk_names = disk_names(model)
        self.share_prompts, self._proven = cfg.train.share_prompts and can_share(model), False
        self.warn: Callable[[str], None] = print  # what the user should know; a run gives it the monitor's
        if self.adapters:
            lora.add_adapters(model, cfg)
        self.engine = self._initialize(model, self._ds_config)
        self.engine.train()
        self._base = frozen_sums(self.engine.module) if self.adapters else []
        self.ref_model = self._make_ref_model(model_path) if algorithm.needs_ref_model else None
        self._features: dict[int, Features] = {}  # of a step's images, by their prompt's id()

    def _load(self, model_path: str, ds_config: dict[str, Any]) -> torch.nn.Module:
        from transformers import AutoModelForImageTextToText
        from transformers.integrations import HfDeepSpeedConfig

        keep_alive = HfDeepSpeedConfig(ds_config)  # while it lives, from_pretrained partitions what it loads
        with quiet_transformers():
            model = AutoModelForImageTextToText.from_pretrained(
                model_path,
                revision=self.cfg.model.revision,
                dtype=getattr(torch, self.cfg.model.dtype),
                attn_implementation=self.cfg.model.attn_implementation,
                trust_remote_code=self.cfg.model.trust_remote_code,
            )
        del keep_alive
        without_dropout(model)
        return model

    def _initialize(self, model: torch.nn.Module, ds_config: dict[str, Any]) -> Any:
        import deepspeed

        wrapped = PolicyModel(model, self._banned, self.cfg.rollout.temperature)
        wrapped.cut = vision_cut(model) if self.cfg.train.image_features_once else None
        trained = [p for p in wrapped.parameters() if p.requires_grad]
        optimised = {"model_parameters": trained} if "optimizer" in ds_config else {}
        with quiet_deepspeed():
            engine, *_ = deepspeed.initialize(model=wrapped, config=ds_config, **optimised)
        return engine

    def _make_ref_model(self, model_path: str) -> RefModel:
        """The policy without its adapters, or a frozen copy under ZeRO-3."""
        settings, engine = self.cfg.ref_model, self.engine
        if not self.adapters:
            ds_config = {k: v for k, v in self._ds_config.items() if k != "optimizer"}
            if settings.offload == "cpu" and torch.cuda.is_available():
                offload = {"offload_param": {"device": "cpu", "pin_memory": True}}
                ds_config["zero_optimization"] = ds_config["zero_optimization"] | offload
            model = self._load(model_path, ds_config)  # which puts each share where it stays
            model.requires_grad_(False)
            engine = self._initialize(model, ds_config)
            engine.eval()
        return RefModel(engine, self.engine, settings)

    def update(self, batch: LearnBatch, filler: Completion, step: int) -> dict[str, float]:
        """One step's learning: `train.passes` times `train.updates_per_step` optimiser steps. Returns global metrics.

        filler  any completion of this rank: fills passes that other ranks need and this one has nothing for
        step    1-based; sets the learning rate

        Raises NonFiniteUpdate or PolicyMismatch on every rank together, before anything is applied.
        """
        dropout = bool(self.cfg.model.lora.dropout)
        if dropout:  # of its own per step, so that a resumed run drops what the uninterrupted one would have
            torch.manual_seed(self.cfg.run.seed + 1_000_003 * step + collectives.rank())
        rate = learning_rate(self.cfg, step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        updates, passes = self.cfg.train.updates_per_step, self.cfg.train.passes
        sums: list[Sums] = [batch.counts]
        norms: list[float] = []
        parts = [self._micro_batches(batch, filler, slice(u, None, updates)) for u in range(updates)]
        # In a step's only update the policy that is trained still is the one that sampled: its own pass gives old_logp.
        need_old = updates * passes > 1 or self.algorithm.needs_baseline or dropout
        fixed = [self._fixed_logp(part, need_old) for part in parts]
        for part, known in list(zip(parts, fixed, strict=True)) * passes:
            norm = self._optimiser_step(part, known, sums, step)
            if norm is not None:
                norms.append(norm)
        self._features = {}
        if self.ref_model is not None:
            self.ref_model.after_step(step)
        highest = max((one.pop("sampling/max")[0] for one in sums if "sampling/max" in one), default=0.0)
        highest = collectives.reduce_numbers([highest], "max")[0]
        merged: Sums = {}
        for one in sums:
            for name, (value, count) in one.items():
                before = merged.get(name, (0.0, 0.0))
                merged[name] = (before[0] + value, before[1] + count)
        metrics = mismatch_metrics(collectives.reduce_sums(merged))
        metrics["sampling/sampling_logp_difference/max"] = highest
        metrics["learning_rate"] = rate
        if norms:
            metrics["grad_norm"] = sum(norms) / len(norms)
        return metrics | self.algorithm.after_update(metrics)

    def read_ahead(self, completions: list[Completion]) -> Iterator[None]:
        """The ref_model's passes over completions of which some will be learned from, one per `next`.

        What it has read, `update` need not read again. Every rank must go through as many.
        """
        assert self.ref_model is not None
        everything = LearnBatch([(c,) for c in completions], [0.0] * len(completions), 1)
        for mb in self._micro_batches(everything, completions[0], slice(None)):
            self.ref_model.read(mb)
            yield

    def _micro_batches(self, batch: LearnBatch, filler: Completion, which: slice) -> list[MicroBatch]:
        train = self.cfg.train
        if not self._features:
            prompts = [filler.prompt, *(c.prompt for unit in batch.units for c in unit)]
            together = max(
                1, train.micro_batch_tokens // self.cfg.rollout.max_model_len
            )  # as a pass has rows, at least
            self._features = see(self.engine, prompts, self.device, together)
        if self.share_prompts and not self._proven:
            self._prove_sharing(two_of_one_prompt(filler, (c for unit in batch.units for c in unit)))
        sizes = (train.micro_batch_tokens, self.pad_id, self._features, train.logits_chunk, self.share_prompts)
        laid_out = micro_batches(batch, which, filler, *sizes)
        return [mb.to(self.device) for mb in laid_out]

    def _prove_sharing(self, pair: list[Completion]) -> None:
        """Go back to a row per candidate, on all ranks, where the architecture makes something else of a shared one."""
        found = gap(self.engine, pair, self.pad_id, self._features, self.device)
        self._proven = found is not None
        if found is not None and not agrees(found, self.engine.module):
            self.share_prompts = False
            self.warn(
                f"train.share_prompts: log-probabilities differ by {found:.3g} nats per token between a row of its own "
                "and a shared one, so this architecture does not do as it is told there; each candidate gets a row of "
                "its own. Set it to false to be spared the test."
            )

    def _fixed_logp(self, part: list[MicroBatch], need_old: bool) -> list[tuple[Tensor | None, Tensor | None]]:
        """Log-probabilities that the step's updates do not change: of the policy before them, and of the ref_model."""
        old = [self._old_logp(mb) if need_old else None for mb in part]
        return list(zip(old, self.ref_model.logp(part) if self.ref_model else [None] * len(part), strict=True))

    def _optimiser_step(
        self,
        micro_batches: list[MicroBatch],
        fixed: list[tuple[Tensor | None, Tensor | None]],
        sums: list[Sums],
        step: int,
    ) -> float | None:
        """All forward and backward passes, then one AdamW step. Returns the gradient norm, None if nothing taught."""
        mine = sum(self.algorithm.denominator(mb.usable, mb.weights) for mb in micro_batches)
        total = collectives.reduce_numbers([mine])[0]  # over all ranks: a unit weighs the same wherever it lies
        if not total:
            return None
        baseline = self._baseline(micro_batches, fixed)
        odd: set[str] = set()  # studies whose loss is not finite
        gap, tokens, unusable = 0.0, 0.0, 0.0
        for i, (mb, (old_logp, ref_logp)) in enumerate(zip(micro_batches, fixed, strict=True)):
            self.engine.set_gradient_accumulation_boundary(i == len(micro_batches) - 1)
            logp, entropy = self.engine(mb)
            seen = token_batch(mb, logp, logp.detach() if old_logp is None else old_logp, ref_logp, self._farthest)
            loss, stats = self.algorithm.loss(seen, baseline)
            # DeepSpeed averages gradients over ranks; the sum of all units over their global number is wanted.
            loss = loss * collectives.world_size() / total
            if not torch.isfinite(loss):
                odd |= studies_of([mb])
            self.engine.backward(loss, scale_wrt_gas=False)
            common = token_metrics(mb, seen, entropy)
            common["loss"] = (float(loss.detach()) / collectives.world_size() * total, mine / len(micro_batches))
            gap += common["sampling/sampling_logp_difference/mean"][0]
            tokens += common["sampling/sampling_logp_difference/mean"][1]
            unusable += common["sampling/unusable_fraction"][0]
            sums += [stats, common]
        gap, tokens, unusable = collectives.reduce_numbers([gap, tokens, unusable])
        odd = odd.union(*collectives.gather(odd))
        refuse(odd, gap / max(tokens, 1.0), unusable / max(tokens + unusable, 1.0), step, self.cfg)
        self.engine.step()
        if not self.engine.was_step_applied():
            raise not_applied(set().union(*collectives.gather(studies_of(micro_batches))), step, self.cfg)
        self.version += 1
        return float(self.engine.get_global_grad_norm())

    def _baseline(self, micro_batches: list[MicroBatch], fixed: list[tuple[Tensor | None, Tensor | None]]) -> float:
        """The global mean that some losses compare with; 0 where the algorithm has none."""
        if not self.algorithm.needs_baseline:
            return 0.0
        total, count = 0.0, 0.0
        for mb, (old_logp, ref_logp) in zip(micro_batches, fixed, strict=True):
            assert old_logp is not None
            value, weight = self.algorithm.baseline_sums(token_batch(mb, old_logp, old_logp, ref_logp, self._farthest))
            total, count = total + value, count + weight
        total, count = collectives.reduce_numbers([total, count])
        return total / max(count, 1.0)

    @torch.no_grad()
    def _old_logp(self, mb: MicroBatch) -> Tensor:
        """Under the policy as it sampled: without dropout."""
        self.engine.train(not self.cfg.model.lora.dropout)
        logp = self.engine(mb)[0]
        self.engine.train()
        return logp

    def trained_weights(self) -> Iterator[tuple[str, Tensor]]:
        """(name on disk, whole tensor) of everything that training changes, gathered bucket by bucket on every rank;
        adapters merged."""
        return self._gathered(self._recipes(only_changed=True))

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
        """Weights, optimiser states, version and what the algorithm adapted into `folder`; every rank its shard.

        Of a policy with adapters, these alone, as shards and once more as `peft` reads them.
        """
        adapter = self._adapter()  # together, before a rank may meet a full disk
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
        """The adapters whole, on every rank; empty without."""
        return dict(self._gathered(lora.adapter_recipes(self.engine.module.hf))) if self.adapters else {}

    def _save_adapter(self, tensors: dict[str, Tensor], folder: Path) -> None:
        if tensors and collectives.rank() == 0:
            lora.save_adapter(folder, tensors, self.engine.module.hf, self._base)

    def load(self, folder: Path) -> None:
        """Take back what `save` wrote. Raises CheckpointError where DeepSpeed finds nothing, or where the adapters
        belong on another base."""
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
        """The policy as a Hugging Face folder (safetensors, config, processor). Rank 0 writes; all ranks must call."""
        model = self.engine.module.hf
        state = {}
        self._save_adapter(self._adapter(), folder.parent / lora.FOLDER)
        for name, tensor in self._gathered(self._recipes(only_changed=False)):
            if collectives.rank() == 0:  # one whole copy, in CPU memory
                state[name] = tensor.contiguous().cpu()
        if collectives.rank() == 0:
            from safetensors.torch import save_file

            folder.mkdir(parents=True, exist_ok=True)
            save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
            model.config.save_pretrained(folder)
            if getattr(model, "generation_config", None) is not None:
                model.generation_config.save_pretrained(folder)
            processor.save_pretrained(folder)
            (folder / "online_rl.json").write_text(json.dumps({"policy_version": self.version}))
        collectives.barrier()
