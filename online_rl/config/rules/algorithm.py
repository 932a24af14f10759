"""Rules between the algorithms' keys: what a chosen algorithm cannot read, or cannot mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from online_rl.config.algorithm import GRPO_FAMILY, NO_DUAL_CLIP, ONE_RATIO
from online_rl.config.rules.rule import rule

if TYPE_CHECKING:
    from online_rl.config.model import Config

NAME, GRPO, PREFERENCE = "algorithm.name", "algorithm.grpo", "algorithm.preference"


@rule(NAME, "train.micro_batch_tokens", "rollout.max_model_len")
def a_pass_has_room_for_the_longest(cfg: Config) -> str | None:
    rows, length = cfg.algorithm.unit_size, cfg.rollout.max_model_len
    if cfg.train.micro_batch_tokens >= rows * length:
        return None
    what = f"a pair, as algorithm.name={cfg.algorithm.name} needs it," if rows > 1 else "one row"
    return (
        f"train.micro_batch_tokens: found {cfg.train.micro_batch_tokens}, expected at least {rows * length}: a pass "
        f"must hold {what} of rollout.max_model_len={length} tokens. Raise it, or lower rollout.max_model_len."
    )


@rule(f"{GRPO}.kl_target", f"{GRPO}.kl_coef")
def an_adaptive_coefficient_starts_above_zero(cfg: Config) -> str | None:
    options = cfg.algorithm.grpo
    if options.kl_target is None or options.kl_coef > 0:
        return None
    return (
        f"algorithm.grpo.kl_coef: found 0 beside algorithm.grpo.kl_target={options.kl_target:g}, expected more than 0: "
        "it is adapted by factors, and needs a ref_model. Start it at 0.01, or set kl_target to null."
    )


@rule(NAME, f"{GRPO}.dual_clip", f"{GRPO}.clip_high")
def the_dual_clip_lies_above_the_clip(cfg: Config) -> str | None:
    options = cfg.algorithm.grpo
    if options.dual_clip is None or cfg.algorithm.name not in GRPO_FAMILY:
        return None
    name = cfg.algorithm.name
    if name in NO_DUAL_CLIP:
        found = f"algorithm.grpo.dual_clip: found {options.dual_clip:g} with algorithm.name={name}"
        return f"{found}, expected null: {NO_DUAL_CLIP[name]}."
    if options.dual_clip > 1 + options.clip_high:
        return None
    return (
        f"algorithm.grpo.dual_clip: found {options.dual_clip:g}, expected more than 1 + algorithm.grpo.clip_high = "
        f"{1 + options.clip_high:g}. Raise it (3 is usual), or set it to null."
    )


@rule(f"{GRPO}.correction_min", f"{GRPO}.correction_max")
def correction_bounds_leave_room(cfg: Config) -> str | None:
    options = cfg.algorithm.grpo
    if options.correction_min < 1 < options.correction_max:
        return None
    return (
        f"algorithm.grpo.correction_min, correction_max: found {options.correction_min:g} and "
        f"{options.correction_max:g}, expected 1 between them: that is the weight where vLLM and the trainer agree."
    )


@rule(NAME, f"{GRPO}.loss_type")
def a_sequence_ratio_counts_once_per_completion(cfg: Config) -> str | None:
    name, loss_type = cfg.algorithm.name, cfg.algorithm.grpo.loss_type
    if name not in ONE_RATIO or loss_type == "grpo":
        return None
    return (
        f"algorithm.grpo.loss_type: found {loss_type} with algorithm.name={name}, expected grpo: one ratio per "
        "completion, summed over its tokens, would weigh it by its length. Remove the key."
    )


@rule(NAME, "algorithm.args")
def built_in_algorithms_take_no_arguments(cfg: Config) -> str | None:
    if not cfg.algorithm.args or not cfg.algorithm.is_built_in:
        return None
    return (
        f"algorithm.args: found {sorted(cfg.algorithm.args)} with algorithm.name={cfg.algorithm.name}, expected "
        f"nothing: built-in algorithms read {GRPO} or {PREFERENCE}. Move the values there."
    )


@rule(NAME, f"{PREFERENCE}.label_smoothing")
def smoothing_needs_a_sigmoid(cfg: Config) -> str | None:
    smoothing, name = cfg.algorithm.preference.label_smoothing, cfg.algorithm.name
    if not smoothing or name not in ("online_ipo", "online_hinge", "online_orpo", "online_kto"):
        return None
    return (
        f"algorithm.preference.label_smoothing: found {smoothing:g} with algorithm.name={name}, expected 0: it is "
        "defined for online_dpo, online_r_dpo and online_simpo."
    )


@rule(NAME, f"{PREFERENCE}.sft_coef")
def the_sft_term_needs_a_place(cfg: Config) -> str | None:
    weight, name = cfg.algorithm.preference.sft_coef, cfg.algorithm.name
    if not weight or name not in ("online_orpo", "online_kto"):
        return None
    reason = "its loss has that term already" if name == "online_orpo" else "it has no chosen report of a pair"
    return f"algorithm.preference.sft_coef: found {weight:g} with algorithm.name={name}, expected 0: {reason}."


@rule(NAME, f"{PREFERENCE}.pairing", f"{PREFERENCE}.kto_threshold")
def kto_learns_from_single_candidates(cfg: Config) -> str | None:
    options, name = cfg.algorithm.preference, cfg.algorithm.name
    if name != "online_kto":
        if options.kto_threshold is None:
            return None
        return (
            f"algorithm.preference.kto_threshold: found {options.kto_threshold:g} with algorithm.name={name}, expected "
            "null: it is read by online_kto alone."
        )
    if options.pairing == "best_worst":
        return None
    return (
        f"algorithm.preference.pairing: found {options.pairing} with algorithm.name=online_kto, expected best_worst: "
        "KTO has no pairs. Set kto_threshold to learn from every candidate."
    )


@rule(NAME, f"{PREFERENCE}.desirable_weight", f"{PREFERENCE}.undesirable_weight")
def kto_weighs_something(cfg: Config) -> str | None:
    options = cfg.algorithm.preference
    if cfg.algorithm.name != "online_kto" or options.desirable_weight or options.undesirable_weight:
        return None
    return (
        "algorithm.preference.desirable_weight, undesirable_weight: found 0 and 0, expected at least one above 0, or "
        "nothing is learned."
    )
