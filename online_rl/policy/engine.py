"""The update: forward and backward passes over a step's micro-batches, then AdamW, under DeepSpeed ZeRO-3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from online_rl.algorithms import Algorithm, LearnBatch
from online_rl.algorithms.mismatch import mismatch_metrics
from online_rl.config import Config
from online_rl.metric_types import Max, Mean, Metrics, over_ranks
from online_rl.policy.memory import out_of_memory_explained
from online_rl.policy.passes.collate import MicroBatch
from online_rl.policy.passes.plan import PassSettings, micro_batches
from online_rl.policy.passes.shared_prompts import PromptSharing, can_share
from online_rl.policy.passes.token_batch import DIFFERENCE, LARGEST_DIFFERENCE, UNUSABLE, token_batch, token_metrics
from online_rl.policy.passes.vision_cut import Features, encode_images
from online_rl.policy.refusals import not_applied, refuse, studies_of
from online_rl.policy.schedule import learning_rate
from online_rl.policy.weights import Weights
from online_rl.ranks import collectives
from online_rl.rollout.types import Completion

# cuDNN's attention, which torch prefers on recent GPUs, makes a plan for every length that it has not met.
LENGTHS_ON_GPU = 128


@dataclass(frozen=True)
class Pass:
    """A micro-batch, and the log-probabilities that a step's updates do not change, (B, T), nats.

    old_logp  under the policy before the step's first update; None if the pass itself gives them
    ref_logp  under the ref_model; None if there is none
    """

    mb: MicroBatch
    old_logp: Tensor | None
    ref_logp: Tensor | None


class Policy(Weights):
    """Weights that learn. `warn` takes messages for the user; a run sets it to the monitor's."""

    rate_key: ClassVar[str] = "train.learning_rate"  # of the configuration, for messages

    def __init__(
        self,
        model_path: str,
        cfg: Config,
        algorithm: Algorithm,
        banned_ids: list[int],
        pad_id: int,
        ref_path: str | None = None,
    ) -> None:
        super().__init__(model_path, cfg, algorithm, banned_ids, ref_path)
        self.pad_id, self.device = pad_id, collectives.device()
        self.warn: Callable[[str], None] = print
        self._dropout = bool(cfg.model.lora.dropout)
        self._farthest = cfg.rollout.max_token_logp_difference
        self._sharing = PromptSharing(cfg.debug.share_prompts and can_share(self.engine.module.hf))
        self._features: dict[str, Features] = {}  # of a step's images, by `Prompt.key`

    @out_of_memory_explained("updating the policy")
    def update(self, batch: LearnBatch, step: int) -> dict[str, float]:
        """Learn for one step: `train.passes` times `train.updates_per_step` optimiser steps. Returns global metrics.

        step  1-based; sets the learning rate

        Raises NonFiniteUpdate or PolicyMismatch on every rank together, before anything is applied.
        """
        self._seed_dropout(step)
        rate = self._set_learning_rate(step)
        counted: list[Metrics] = [batch.counts, {LARGEST_DIFFERENCE: Max(0.0)}]
        norms: list[float] = []
        for passes in self._passes_of_updates(batch) * self.cfg.train.passes:
            norm, metrics = self._optimiser_step(passes, step)
            counted += metrics
            norms += [] if norm is None else [norm]
        self._features = {}
        if self.ref_model is not None:
            self.ref_model.after_step(step)
        result = mismatch_metrics(over_ranks(counted))
        result["learning_rate"] = rate
        if norms:
            result["grad_norm"] = sum(norms) / len(norms)
        return result | self.algorithm.after_update(result)

    def read_ahead(self, completions: list[Completion]) -> Iterator[None]:
        """Run the ref_model over completions of which some will be learned from, one pass per `next`.

        `update` does not run it again over what has been read. Every rank must take the same number of passes.
        """
        assert self.ref_model is not None
        everything = LearnBatch([(c,) for c in completions], [0.0] * len(completions), 1, completions[0])
        self._prepare(everything)
        for mb in self._lay_out(everything, slice(None)):
            self.ref_model.read(mb)
            yield

    def _seed_dropout(self, step: int) -> None:
        """Give each step a seed of its own, so that a resumed run drops what the uninterrupted one would have."""
        if self._dropout:
            torch.manual_seed(self.cfg.run.seed + 1_000_003 * step + collectives.rank())

    def _set_learning_rate(self, step: int) -> float:
        rate = learning_rate(self.cfg, step)
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _passes_of_updates(self, batch: LearnBatch) -> list[list[Pass]]:
        """The passes of each of the step's updates, with the log-probabilities that updates do not change."""
        self._prepare(batch)
        updates = self.cfg.train.updates_per_step
        laid_out = [self._lay_out(batch, slice(u, None, updates)) for u in range(updates)]
        # In a step's only update the trained policy still is the one that sampled: its own pass gives old_logp.
        need_old = updates * self.cfg.train.passes > 1 or self.algorithm.needs_baseline or self._dropout
        return [self._with_fixed_logp(part, need_old) for part in laid_out]

    def _prepare(self, batch: LearnBatch) -> None:
        """Encode the images of the batch, unless that is done, and compare a shared row with rows of their own, once.

        Every rank must call.
        """
        if not self._features:
            prompts = [batch.filler.prompt, *(c.prompt for unit in batch.units for c in unit)]
            rows_of_a_pass = self.cfg.train.micro_batch_tokens // self.cfg.rollout.max_model_len  # at least
            self._features = encode_images(self.engine, prompts, self.device, max(1, rows_of_a_pass))
        warning = self._sharing.prove(self.engine, batch, self.pad_id, self._features, self.device)
        if warning:
            self.warn(warning)

    def _lay_out(self, batch: LearnBatch, which: slice) -> list[MicroBatch]:
        train = self.cfg.train
        multiple = LENGTHS_ON_GPU if self.device.type == "cuda" else 1
        settings = PassSettings(train.micro_batch_tokens, self.pad_id, train.logits_chunk, self._sharing.on, multiple)
        return [mb.to(self.device) for mb in micro_batches(batch, which, settings, self._features)]

    def _with_fixed_logp(self, part: Sequence[MicroBatch], need_old: bool) -> list[Pass]:
        old = [self._old_logp(mb) if need_old else None for mb in part]
        ref = self.ref_model.logp(part) if self.ref_model else [None] * len(part)
        return [Pass(mb, o, r) for mb, o, r in zip(part, old, ref, strict=True)]

    @torch.no_grad()
    def _old_logp(self, mb: MicroBatch) -> Tensor:
        """Log-probabilities under the policy as it sampled: without dropout."""
        self.engine.train(not self._dropout)
        logp = self.engine(mb)[0]
        self.engine.train()
        return logp

    def _optimiser_step(self, passes: Sequence[Pass], step: int) -> tuple[float | None, list[Metrics]]:
        """Run all forward and backward passes, then one AdamW step. Returns the gradient norm and the passes' metrics;
        None and nothing if no rank has anything to learn from."""
        mine = sum(self.algorithm.denominator(one.mb.usable, one.mb.weights) for one in passes)
        total = collectives.reduce_numbers([mine])[0]  # over all ranks: a unit has the same weight on any of them
        if not total:
            return None, []
        baseline = self._baseline(passes)
        counted: list[Metrics] = []
        nonfinite_studies: set[str] = set()
        for i, one in enumerate(passes):
            self.engine.set_gradient_accumulation_boundary(i == len(passes) - 1)
            loss, metrics = self._backward(one, baseline, total)
            if not torch.isfinite(loss):
                nonfinite_studies |= studies_of([one.mb])
            metrics["loss"] = Mean(float(loss) / collectives.world_size() * total, mine / len(passes))
            counted.append(metrics)
        self._refuse(nonfinite_studies, counted, step)
        self.version += 1  # before the weights change: one that is interrupted here is no step's policy
        self.engine.step()
        if not self.engine.was_step_applied():
            self.version -= 1
            studies = studies_of(one.mb for one in passes)
            raise not_applied(set().union(*collectives.gather(studies)), step, self.cfg, self.rate_key)
        return float(self.engine.get_global_grad_norm()), counted

    def _backward(self, one: Pass, baseline: float, total: float) -> tuple[Tensor, Metrics]:
        """One forward and backward pass. Returns its part of the loss, without gradient, and its metrics."""
        logp, entropy = self.engine(one.mb)
        old_logp = logp.detach() if one.old_logp is None else one.old_logp
        seen = token_batch(one.mb, logp, old_logp, one.ref_logp, self._farthest)
        loss, metrics = self.algorithm.loss(seen, baseline)
        # DeepSpeed averages gradients over ranks; what is needed is the sum over all units by their global number.
        loss = loss * collectives.world_size() / total
        self.engine.backward(loss, scale_wrt_gas=False)
        return loss.detach(), metrics | token_metrics(one.mb, seen, entropy)

    def _refuse(self, nonfinite_studies: set[str], counted: Sequence[Metrics], step: int) -> None:
        everywhere = nonfinite_studies.union(*collectives.gather(nonfinite_studies))
        agreement = over_ranks({name: metrics[name] for name in (DIFFERENCE, UNUSABLE)} for metrics in counted)
        with collectives.met_by_all():  # what it goes by is the same on every rank
            refuse(everywhere, agreement.get(DIFFERENCE, 0.0), agreement.get(UNUSABLE, 0.0), step, self.cfg)

    def _baseline(self, passes: Sequence[Pass]) -> float:
        """The global mean that some losses compare with; 0 if the algorithm needs none."""
        if not self.algorithm.needs_baseline:
            return 0.0
        total, count = 0.0, 0.0
        for one in passes:
            assert one.old_logp is not None
            seen = token_batch(one.mb, one.old_logp, one.old_logp, one.ref_logp, self._farthest)
            value, weight = self.algorithm.baseline_sums(seen)
            total, count = total + value, count + weight
        total, count = collectives.reduce_numbers([total, count])
        return total / max(count, 1.0)
