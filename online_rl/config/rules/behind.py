"""Rules of `scoring.behind`: what cannot learn from candidates that the policy before the last update has sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from online_rl.config.rules.judges import entries
from online_rl.config.rules.rule import rule

if TYPE_CHECKING:
    from online_rl.config.model import Config

KEY = "scoring.behind"
ADAPTING = ("target_band",)


@rule(KEY, "algorithm")
def learning_late_needs_a_correction(cfg: Config) -> str | None:
    if not cfg.scoring.behind or not cfg.algorithm.is_built_in or cfg.algorithm.corrects_late:
        return None
    found = f"{KEY}: found 1 with algorithm.name={cfg.algorithm.name}"
    if cfg.algorithm.unit_size == 1 and cfg.algorithm.grpo.correction == "none":
        found += f" and algorithm.grpo.correction={cfg.algorithm.grpo.correction}"
    return (
        f"{found}, expected an algorithm of GRPO's family and its correction on: candidates come from the policy "
        "before the last update, and nothing else weighs them for it. Set algorithm.grpo.correction to "
        f"token_truncate, or {KEY} to 0."
    )


@rule(KEY, "algorithm.resample_rounds")
def resampling_cannot_wait(cfg: Config) -> str | None:
    if not cfg.scoring.behind or not cfg.algorithm.resample_rounds:
        return None
    return (
        f"algorithm.resample_rounds: found {cfg.algorithm.resample_rounds} beside {KEY}=1, expected 0: which groups "
        "teach nothing is known only when the next step has been sampled. Set one of the two to 0."
    )


@rule(KEY, "judges", "guards")
def length_rules_stay_as_they_are(cfg: Config) -> str | None:
    for place, entry in entries(cfg) if cfg.scoring.behind else ():
        if entry.length_control in ADAPTING:
            return (
                f"{place}.length_control: found {entry.length_control} beside {KEY}=1, expected one that does not "
                "adapt: scores that are on their way would have the multiplier of one step or of the next. Take "
                f"lc_green or symmetric, or set {KEY} to 0."
            )
    return None


@rule(KEY, "judges", "guards")
def a_late_judge_has_a_gpu_of_its_own(cfg: Config) -> str | None:
    for place, entry in entries(cfg) if cfg.scoring.behind else ():
        if entry.args.get("place") == "shared":
            return (
                f"{place}.args.place: found shared beside {KEY}=1, expected own_gpus or url: the judge would have to "
                f'sleep while it still scores. Give it a GPU of its own (server: {{gpu: "7"}}), or set {KEY} to 0.'
            )
    return None
