"""The policy under supervision: the passes, ranks and optimiser of online training, with the likelihood as loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from online_rl.algorithms import LearnBatch, TokenBatch
from online_rl.metric_types import Mean, Metrics, over_ranks
from online_rl.policy.engine import Pass, Policy
from online_rl.policy.memory import out_of_memory_explained
from online_rl.policy.model import PolicyModel
from online_rl.policy.passes.collate import MicroBatch
from online_rl.policy.passes.shared_prompts import PromptSharing
from online_rl.policy.refusals import refuse_nonfinite
from online_rl.ranks import collectives

LOSS, ACCURACY = "loss", "mean_token_accuracy"


class SupervisedModel(PolicyModel):
    """Measures of each token whether it is the most likely one, 1.0 or 0.0, in the place of the entropy."""

    def _measured(self, logp: Tensor, targets: Tensor) -> Tensor:
        return (logp.argmax(-1) == targets).to(logp.dtype)


class SupervisedPolicy(Policy):
    """Learns from completions that nobody sampled: what vLLM would say of them is neither known nor compared."""

    model_class = SupervisedModel
    rate_key = "sft.learning_rate"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sharing = PromptSharing(False)  # every prompt has one completion

    @out_of_memory_explained("updating the policy")
    def update(self, batch: LearnBatch, step: int) -> dict[str, float]:
        """Take one optimiser step, 1-based, on the batches of all ranks. Returns global metrics.

        Raises NonFiniteUpdate on every rank together, before anything is applied.
        """
        self._seed_dropout(step)
        rate = self._set_learning_rate(step)
        norm, counted = self._optimiser_step(self._passes(batch), step)
        self._features = {}
        result = over_ranks([batch.counts, *counted]) | {"learning_rate": rate}
        return result | ({} if norm is None else {"grad_norm": norm})

    @torch.no_grad()
    def measure(self, batch: LearnBatch) -> Metrics:
        """Loss and token accuracy of this rank's completions, without learning from them. Every rank must call."""
        counted = {LOSS: Mean(), ACCURACY: Mean()}
        self.engine.eval()
        for one in self._passes(batch):
            logp, hits = self.engine(one.mb)
            live = self._seen(one.mb, logp).live
            count = float(live.sum())
            counted[LOSS] = counted[LOSS].merge(Mean(-float((logp * live).sum()), count))
            counted[ACCURACY] = counted[ACCURACY].merge(Mean(float((hits * live).sum()), count))
        self.engine.train()
        self._features = {}
        return dict(counted)

    def _passes(self, batch: LearnBatch) -> list[Pass]:
        self._prepare(batch)
        return [Pass(mb, None, None) for mb in self._lay_out(batch, slice(None))]

    def _backward(self, one: Pass, baseline: float, total: float) -> tuple[Tensor, Metrics]:
        logp, hits = self.engine(one.mb)
        seen = self._seen(one.mb, logp)
        loss, metrics = self.algorithm.loss(seen)
        # DeepSpeed averages gradients over ranks; what is needed is the sum over all tokens by their global number.
        loss = loss * collectives.world_size() / total
        self.engine.backward(loss, scale_wrt_gas=False)
        return loss.detach(), metrics | {ACCURACY: Mean(float((hits * seen.live).sum()), float(seen.live.sum()))}

    def _seen(self, mb: MicroBatch, logp: Tensor) -> TokenBatch:
        return TokenBatch(logp, logp.detach(), None, mb.sampled, mb.mask, mb.advantages, mb.weights)

    def _refuse(self, nonfinite_studies: set[str], counted: Sequence[Metrics], step: int) -> None:
        everywhere = nonfinite_studies.union(*collectives.gather(nonfinite_studies))
        refuse_nonfinite(everywhere, step, self.cfg, f"Look at their reference reports; lower {self.rate_key}")
