"""Keys of the supervised stage, `online-rl sft`; all that it shares with the online one it takes from `train`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field

from online_rl.config.section import Positive, Section
from online_rl.errors import ConfigError

if TYPE_CHECKING:
    from online_rl.config.model import Config

SUFFIX = "-sft"


class Sft(Section):
    epochs: float = Field(default=1.0, gt=0, description="passes over the training studies")
    max_steps: Positive | None = Field(default=None, description="updates of the stage, instead of sft.epochs")
    learning_rate: float = Field(default=1e-5, gt=0, description="peak learning rate of AdamW in this stage")
    studies_per_step: Positive = Field(default=32, description="reference reports per update, over all ranks")


def stage_folder(run_dir: str, named: bool) -> str:
    """The run folder of the supervised stage: `run.dir` with -sft behind it, or `run.dir` itself if the command line
    named it, so that one configuration serves both stages.

    >>> stage_folder("runs/mine", named=False), stage_folder("runs/first", named=True)
    ('runs/mine-sft', 'runs/first')
    """
    plain = run_dir.rstrip("/") or run_dir
    return plain if named or plain.endswith(SUFFIX) else plain + SUFFIX


def stage_config(cfg: Config, studies: int, world_size: int) -> Config:
    """The configuration with the stage's numbers where the trainer reads them: policy, DeepSpeed, schedule, checkpoint.

    studies     number of training studies
    world_size  ranks, among which an update's studies are shared

    Likelihood is that of the policy itself, so `rollout.temperature` is 1. Raises ConfigError for numbers that do not
    fit each other.
    """
    sft, size = cfg.sft, cfg.sft.studies_per_step
    if size % world_size:
        raise ConfigError(
            f"sft.studies_per_step: found {size}, expected a multiple of the {world_size} ranks (the nearest above is "
            f"{-(-size // world_size) * world_size})."
        )
    if size > studies:
        raise ConfigError(
            f"sft.studies_per_step: found {size}, expected at most {studies}, the number of studies to train on. Lower "
            "it, or give more data."
        )
    steps = sft.max_steps or math.ceil(sft.epochs * studies / size)
    train = {"learning_rate": sft.learning_rate, "max_steps": steps, "updates_per_step": 1, "passes": 1}
    best = {"metric_for_best_model": None, "greater_is_better": None, "load_best_model_at_end": False}
    return cfg.model_copy(
        update={
            "train": cfg.train.model_copy(update=train),
            "rollout": cfg.rollout.model_copy(update={"studies_per_step": size, "temperature": 1.0}),
            "eval": cfg.eval.model_copy(update=best),  # nothing is written, so there is no report to choose by
        }
    )
