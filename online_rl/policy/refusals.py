"""Refusals before an update is applied: a loss or gradient that is not finite, and engines that disagree."""

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
MAX_UNUSABLE = 0.01  # fraction of the tokens whose log-probability vLLM may report as not finite


def logp_limit(cfg: Config) -> float:
    """Nats per token, as the mean over a step, by which trainer and vLLM may differ.

    An engine that was never synced was 0.81 away from its trainer (huggingface/trl#5312); rounding alone gives some
    0.01 in bfloat16, and 1e-6 to 1e-3 in float32.
    """
    if cfg.rollout.max_logp_difference is not None:
        return cfg.rollout.max_logp_difference
    return 0.1 if cfg.model.dtype == "float32" else 0.2


def refuse(nonfinite_studies: set[str], gap: float, unusable: float, step: int, cfg: Config) -> None:
    """Raise, on every rank, if applying the gradient would be wrong.

    nonfinite_studies  ids of the studies, of all ranks, whose loss is not finite
    gap                mean difference between trainer and vLLM, nats per token
    unusable           fraction of the tokens whose log-probability from vLLM cannot be used
    """
    refuse_nonfinite(nonfinite_studies, step, cfg, "Look at their rewards; lower train.learning_rate")
    limit = logp_limit(cfg)
    late = (
        " With scoring.behind=1 the last update is part of it; a lower train.learning_rate helps."
        if cfg.scoring.behind
        else ""
    )
    if not gap <= limit:
        raise PolicyMismatch(
            f"step {step}: log-probabilities of the trainer and of vLLM differ by {gap:.3f} nats per token, over "
            f"rollout.max_logp_difference={limit}. Check that vLLM serves this "
            f"architecture faithfully (dtype, attention), or raise the limit.{late}"
        )
    if unusable > MAX_UNUSABLE:
        raise PolicyMismatch(
            f"step {step}: for {unusable:.1%} of the tokens, more than {MAX_UNUSABLE:.0%}, vLLM reported "
            "log-probabilities that are not finite, or more than rollout.max_token_logp_difference="
            f"{cfg.rollout.max_token_logp_difference:g} nats from the trainer's. A run of its own with "
            "model.dtype=float32 shows whether precision is the cause."
        )


def refuse_nonfinite(studies: set[str], step: int, cfg: Config, remedy: str) -> None:
    """Raise, on every rank, if there are studies, of all ranks, whose loss is not finite."""
    if not studies:
        return
    names = ", ".join(sorted(studies)[:SHOWN]) + (" ..." if len(studies) > SHOWN else "")
    raise NonFiniteUpdate(
        f"step {step}: the loss is not finite in passes over {len(studies)} studies ({names}; all in "
        f"{_named(studies, step, cfg)}), so no rank applied the update. {remedy}, or set model.dtype=float32. "
        f"{_another_run(cfg)}"
    )


def not_applied(studies: set[str], step: int, cfg: Config, rate_key: str = "train.learning_rate") -> NonFiniteUpdate:
    """The error for a gradient that is not finite; `studies` are those of the step, of all ranks."""
    return NonFiniteUpdate(
        f"step {step}: the gradient is not finite, so no rank applied the update; {_named(studies, step, cfg)} names "
        f"the step's studies. Lower {rate_key}, or set model.dtype=float32 to see whether precision is the cause. "
        f"{_another_run(cfg)}"
    )


def _another_run(cfg: Config) -> str:
    return (
        f"Rate and dtype are the run's own, so continue in another run.dir: online-rl export {cfg.run.dir} --output "
        "FOLDER, then model.path=FOLDER."
    )


def studies_of(micro_batches: Iterable[MicroBatch]) -> set[str]:
    """Ids of the studies in these passes."""
    return {prompt.study.study_id for mb in micro_batches for prompt in mb.prompts}


def _named(studies: set[str], step: int, cfg: Config) -> str:
    """Write the ids to a file in the run's folder, on rank 0, and return its path.

    Where it cannot be written that is said in its place: every rank must raise the refusal itself.
    """
    file = Path(cfg.run.dir) / f"nonfinite-step-{step}.json"
    if collectives.rank() == 0:
        try:
            with whole_file(file) as partial:
                partial.write_text(json.dumps({"step": step, "studies": sorted(studies)}, indent=1) + "\n")
        except OSError as problem:
            return f"{file}, which could not be written ({problem.strerror}),"
    return str(file)
