"""Rules between the keys of the policy, its adapters and the ref_model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from online_rl.config.algorithm import GRPO_FAMILY
from online_rl.config.rules.rule import rule

if TYPE_CHECKING:
    from online_rl.config.model import Config

LORA, REF = "model.lora", "ref_model"
NEEDS = ("algorithm.name", "algorithm.grpo.kl_coef")


@rule(LORA)
def adapters_have_a_rank(cfg: Config) -> str | None:
    lora = cfg.model.lora
    if lora.rank or not (lora.target_modules or lora.dropout):
        return None
    found = "target_modules" if lora.target_modules else "dropout"
    return (
        f"model.lora.{found}: found {getattr(lora, found)!r} beside model.lora.rank=null, which would ignore it. Set "
        "model.lora.rank (8 to 64), or remove it."
    )


@rule(LORA)
def adapters_have_a_place(cfg: Config) -> str | None:
    if cfg.model.lora.target_modules != []:
        return None
    return (
        "model.lora.target_modules: found an empty list, expected ends of module names, or null for every linear layer "
        "of the language part."
    )


@rule(REF, LORA, *NEEDS)
def settings_of_the_ref_model_need_one(cfg: Config) -> str | None:
    unset = (0, "none", None)
    key = next((key for key in ("path", "sync_steps", "offload") if getattr(cfg.ref_model, key) not in unset), None)
    if key is None:
        return None
    found = f"ref_model.{key}: found {getattr(cfg.ref_model, key)!r}"
    if not cfg.algorithm.needs_ref_model:
        family = cfg.algorithm.name in GRPO_FAMILY
        why = "algorithm.grpo.kl_coef=0" if family else f"algorithm.name={cfg.algorithm.name}"
        return f"{found} beside {why}, which keeps no ref_model. Remove it, or choose an algorithm that needs one."
    if cfg.model.lora.rank and cfg.ref_model.path is None:
        return (
            f"{found} beside model.lora.rank={cfg.model.lora.rank}, where the ref_model is the policy with its "
            "adapters switched off: there is no copy to move or to refresh. Remove it, or set model.lora.rank to null."
        )
    return None


@rule(REF)
def a_ref_model_of_its_own_stays(cfg: Config) -> str | None:
    ref = cfg.ref_model
    if ref.path is None or not ref.sync_steps:
        return None
    return (
        f"ref_model.sync_steps: found {ref.sync_steps} beside ref_model.path={ref.path!r}, expected 0: a refresh would "
        "replace that policy by the trained one. Set it to 0, or ref_model.path to null."
    )


@rule(REF)
def a_mixture_needs_refreshes(cfg: Config) -> str | None:
    if cfg.ref_model.mixup_alpha == 1 or cfg.ref_model.sync_steps:
        return None
    return (
        f"ref_model.mixup_alpha: found {cfg.ref_model.mixup_alpha:g} beside ref_model.sync_steps=0, which would ignore "
        "it. Set ref_model.sync_steps (1 for a moving average), or remove it."
    )
