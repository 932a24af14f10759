"""The ref_model: the base under switched-off adapters, or a frozen copy that may follow the policy."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from online_rl.config.model import RefModel as Settings
from online_rl.errors import CheckpointError
from online_rl.policy.lora import switched_off
from online_rl.policy.passes.collate import MicroBatch
from online_rl.policy.zero import master_shard, regather_persistent, shard
from online_rl.ranks import collectives

FOLDER = "ref_model"


class RefModel:
    """Log-probabilities of the frozen policy.

    engine  DeepSpeed's engine of the frozen copy; of the policy itself if that has adapters
    policy  DeepSpeed's engine of the policy

    A refresh (`ref_model.sync_steps`) is ref <- alpha policy + (1 - alpha) ref (TR-DPO, Gorbatovski et al., arXiv
    2404.09656), each rank on its shards, in float32 if alpha < 1: a small alpha would be lost in bfloat16.
    """

    def __init__(self, engine: Any, policy: Any, settings: Settings) -> None:
        self.engine, self.policy, self.settings = engine, policy, settings
        self.shares_weights = engine is policy
        self._mixtures: dict[str, Tensor] = {}
        self._read: dict[str, Tensor] = {}  # a completion's key -> (T,) log-probabilities read ahead in this step
        if settings.sync_steps and settings.mixup_alpha < 1:
            self._mixtures = {name: shard(q).float().clone() for name, _, q in self._pairs()}

    def read(self, mb: MicroBatch) -> None:
        """Keep the log-probabilities of a pass's completions until the step ends. Every rank must call."""
        for completion, logp in zip(mb.completions, self._forward(mb), strict=True):
            self._read[completion.key] = logp[: len(completion.ids)]

    def logp(self, micro_batches: Sequence[MicroBatch]) -> list[Tensor]:
        """(B, T) log-probabilities of the completion tokens of each pass, nats. Every rank must call.

        A pass whose completions have all been read, on every rank, is not run again.
        """
        unread = [any(c.key not in self._read for c in mb.completions) for mb in micro_batches]
        runs = collectives.reduce_numbers([float(u) for u in unread], "max")
        return [self._forward(mb) if run else self._kept(mb) for mb, run in zip(micro_batches, runs, strict=True)]

    def _kept(self, mb: MicroBatch) -> Tensor:
        padded = torch.zeros_like(mb.mask)
        for row, completion in zip(padded, mb.completions, strict=True):
            row[: len(completion.ids)] = self._read[completion.key]
        return padded

    @torch.no_grad()
    def _forward(self, mb: MicroBatch) -> Tensor:
        if not self.shares_weights:
            return self.engine(mb)[0]
        self.engine.eval()  # dropout draws numbers even for adapters that are switched off
        with switched_off(self.policy.module.hf):
            logp = self.engine(mb)[0]
        self.engine.train()
        return logp

    def after_step(self, step: int) -> None:
        """Refresh from the policy if that is due. Every rank must call."""
        self._read.clear()
        every, alpha = self.settings.sync_steps, self.settings.mixup_alpha
        if not every or step % every:
            return
        for name, p, q in self._pairs():
            if alpha < 1:
                shard(q).copy_(self._mixtures[name].lerp_(master_shard(p).to(self._mixtures[name].device), alpha))
            else:
                shard(q).copy_(shard(p))
        regather_persistent(self.engine.module)

    def save(self, folder: Path) -> None:
        """Write this rank's shards if they may differ from the base's."""
        if not self.settings.sync_steps:
            return
        (folder / FOLDER).mkdir(exist_ok=True)
        state = self._mixtures or {name: shard(q) for name, _, q in self._pairs()}
        torch.save({name: t.detach().cpu().clone() for name, t in state.items()}, self._file(folder))

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote. Raises CheckpointError."""
        if not self.settings.sync_steps:
            return
        try:
            state = torch.load(self._file(folder), weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as problem:
            raise CheckpointError(f"{self._file(folder)}: cannot be read ({type(problem).__name__}).") from None
        missing = [name for name, *_ in self._pairs() if name not in state]
        if missing:
            raise CheckpointError(
                f"{self._file(folder)}: lacks {len(missing)} of the weights that are trained ({missing[0]} ...); it "
                "was written for another policy."
            )
        for name, _, q in self._pairs():
            shard(q).copy_(state[name])
            if self._mixtures:
                self._mixtures[name].copy_(state[name])
        regather_persistent(self.engine.module)

    def _file(self, folder: Path) -> Path:
        return folder / FOLDER / f"rank-{collectives.rank()}.pt"

    def _pairs(self) -> list[tuple[str, torch.nn.Parameter, torch.nn.Parameter]]:
        """(name, the policy's parameter, the copy's) of every trained parameter; the frozen ones stay equal."""
        copies = dict(self.engine.module.hf.named_parameters())
        trained = [(n, p) for n, p in self.policy.module.hf.named_parameters() if p.requires_grad]
        return [(name, p, copies[name]) for name, p in trained]
