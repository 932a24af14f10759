"""What the *HParams* tab of TensorBoard lists of a run: the settings that people compare, and the final metrics."""

from __future__ import annotations

from typing import Any

from online_rl.config import Config
from online_rl.config.algorithm import PREFERENCE_FAMILY

SETTINGS = (
    "algorithm.name",
    "model.path",
    "run.seed",
    "rollout.group_size",
    "rollout.studies_per_step",
    "rollout.temperature",
    "rollout.max_completion_tokens",
    "train.learning_rate",
    "train.max_steps",
    "train.updates_per_step",
    "train.passes",
)


def hyperparameters(cfg: Config) -> dict[str, bool | float | str]:
    """`SETTINGS` under their keys, the pull towards the ref_model that the algorithm reads, and, as one text, the
    judges with weight and length control. Null is the word."""
    pull = "algorithm.preference.beta" if cfg.algorithm.name in PREFERENCE_FAMILY else "algorithm.grpo.kl_coef"
    values = {key: _value(cfg, key) for key in (*SETTINGS, pull)}
    judges = [f"{judge.weight:g} {judge.label} ({judge.length_control})" for judge in cfg.judges]
    return {**values, "judges": " + ".join(judges)}


SUPERVISED = ("model.path", "run.seed", "rollout.studies_per_step", "train.learning_rate", "train.max_steps")


def supervised_hyperparameters(cfg: Config) -> dict[str, bool | float | str]:
    """What a supervised run is told apart by: it has no algorithm and no judges."""
    return {**{key: _value(cfg, key) for key in SUPERVISED}, "algorithm.name": "supervised"}


SUPERVISED_METRICS = ["eval/loss", "eval/perplexity", "eval/mean_token_accuracy", "train/step_time"]


def final_metrics(cfg: Config) -> list[str]:
    """The scalar tags whose last value stands beside the settings."""
    raw = [f"eval/raw_reward/{judge.label}" for judge in cfg.judges if judge.length_control != "none"]
    truth = ["eval/findings/f1", "eval/findings/recall", "eval/diversity/distinct"]
    return ["eval/reward", *raw, *truth, "eval/verbosity/mean", "eval/verbosity/vs_start", "train/step_time"]


def _value(cfg: Any, key: str) -> bool | float | str:
    value = cfg
    for part in key.split("."):
        value = getattr(value, part)
    return value if isinstance(value, bool | int | float | str) else "null"
