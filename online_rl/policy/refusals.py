"""What stops a run before an update is applied: a loss or gradient that is not finite, and engines that disagree."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from online_rl.config import Config
from online_rl.errors import NonFiniteUpdate, PolicyMismatch
from online_rl.policy.passes.collate import MicroBatch
from online_rl.ranks import collectives
from online_rl.whole_file import whole_file

SHOWN = 8  # study ids in a message
MAX_UNUSABLE = 0.01  # part of the tokens whose log-probability vLLM may report as not finite


def refuse(odd: set[str], gap: float, unusable: float, step: int, cfg: Config) -> None:
    """Raise, on every rank alike, where applying the gradient would be wrong.

    odd       ids of the studies whose loss is not finite, of all ranks
    gap       nats per token, mean, by which trainer and vLLM differ
    unusable  part of the tokens whose log-probability from vLLM cannot be used
    """
    if odd:
        names = ", ".join(sorted(odd)[:SHOWN]) + (" ..." if len(odd) > SHOWN else "")
        raise NonFiniteUpdate(
            f"step {step}: the loss is not finite in passes over {len(odd)} studies ({names}; all in "
            f"{_named(odd, step, cfg)}), so no rank applied the update. Look at their rewards; lower "
            "train.learning_rate, or set model.dtype=float32."
        )
    if not gap <= cfg.rollout.max_logp_difference:
        raise PolicyMismatch(
            f"step {step}: log-probabilities of the trainer and of vLLM differ by {gap:.3f} nats per token, over "
            f"rollout.max_logp_difference={cfg.rollout.max_logp_difference}. Check that vLLM serves this "
            "architecture faithfully (dtype, attention), or raise the limit."
        )
    if unusable > MAX_UNUSABLE:
        raise PolicyMismatch(
            f"step {step}: for {unusable:.1%} of the tokens, more than {MAX_UNUSABLE:.0%}, vLLM reported "
            "log-probabilities that are not finite, or more than rollout.max_token_logp_difference="
            f"{cfg.rollout.max_token_logp_difference:g} nats from the trainer's. Set model.dtype=float32 to see "
            "whether precision is the cause."
        )


def not_applied(studies: set[str], step: int, cfg: Config) -> NonFiniteUpdate:
    """The error of a gradient that is not finite, over these studies of all ranks."""
    return NonFiniteUpdate(
        f"step {step}: the gradient is not finite, so no rank applied the update; {_named(studies, step, cfg)} names "
        "the step's studies. Lower train.learning_rate, or set model.dtype=float32 to see whether precision is the "
        "cause."
    )


def studies_of(micro_batches: Iterable[MicroBatch]) -> set[str]:
    """Ids of the studies in these passes."""
    return {prompt.study.study_id for mb in micro_batches for prompt in mb.prompts}


def _named(studies: set[str], step: int, cfg: Config) -> Path:
    """The file in the run's folder to which rank 0 writes their ids."""
    file = Path(cfg.run.dir) / f"nonfinite-step-{step}.json"
    if collectives.rank() == 0:
        with whole_file(file) as partial:
            partial.write_text(json.dumps({"step": step, "studies": sorted(studies)}, indent=1) + "\n")
    return file
