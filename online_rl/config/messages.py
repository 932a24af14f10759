"""What pydantic found, in plain words: key, value found, value expected, nearest valid name."""

from __future__ import annotations

import datetime
import difflib
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

# What people who come from TRL, vLLM or DeepSpeed would write.
KNOWN_ELSEWHERE = {
    "num_generations": "rollout.group_size",
    "max_completion_length": "rollout.max_completion_tokens",
    "max_new_tokens": "rollout.max_completion_tokens",
    "max_length": "rollout.max_model_len",
    "per_device_train_batch_size": "train.micro_batch_tokens",
    "train_micro_batch_size_per_gpu": "train.micro_batch_tokens",
    "num_iterations": "train.passes",
    "gradient_accumulation_steps": "train.micro_batch_tokens",
    "lr": "train.learning_rate",
    "lr_scheduler_type": "train.lr_schedule",
    "gradient_clipping": "train.max_grad_norm",
    "epsilon": "algorithm.grpo.clip_low",
    "epsilon_high": "algorithm.grpo.clip_high",
    "beta": "algorithm.grpo.kl_coef",
    "delta": "algorithm.grpo.dual_clip",
    "rpo_alpha": "algorithm.preference.sft_coef",
    "scale_rewards": "algorithm.grpo.advantage",
    "vllm_importance_sampling_mode": "algorithm.grpo.correction",
    "vllm_importance_sampling_clip_min": "algorithm.grpo.correction_min",
    "vllm_importance_sampling_clip_max": "algorithm.grpo.correction_max",
    "reward_funcs": "judges",
    "reward_weights": "judges[].weight",
    "output_dir": "run.dir",
    "resume_from_checkpoint": "resume",
    "model_name_or_path": "model.path",
    "torch_dtype": "model.dtype",
    "save_steps": "train.save_every",
    "save_total_limit": "train.keep_checkpoints",
    "eval_steps": "eval.every",
    "use_peft": "model.lora.rank",
    "lora_r": "model.lora.rank",
    "lora_alpha": "model.lora.alpha",
    "lora_dropout": "model.lora.dropout",
    "lora_target_modules": "model.lora.target_modules",
    "sync_ref_model": "ref_model.sync_steps",
    "ref_model_sync_steps": "ref_model.sync_steps",
    "ref_model_mixup_alpha": "ref_model.mixup_alpha",
    "metric_for_best_model": "eval.metric_for_best_model",
    "greater_is_better": "eval.greater_is_better",
    "load_best_model_at_end": "eval.load_best_model_at_end",
}

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "a name in UTF-8 (rename the file or folder)",
    "list_type": "a list",
    "dict_type": "keys with values below it",
    "model_type": "keys with values below it",
    "model_attributes_type": "keys with values below it",
}


def explain(error: Mapping[str, Any]) -> str:
    """One paragraph for one error of pydantic's list."""
    name, kind, context = dotted(error["loc"]), error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(name)
    if kind == "missing":
        return f"{name}: missing, expected: {_description(name)}."
    if kind == "literal_error":
        expected = "one of " + str(context["expected"]).replace(" or ", ", ").replace("'", "")
    elif kind in EXPECTED:
        expected = EXPECTED[kind]
    elif kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        word = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
        bound = next(key for key in word if key in context)
        limit = context[bound]
        expected = f"{word[bound]} {limit if isinstance(limit, int) else format(limit, 'g')}"
    elif kind in ("unknown_name", "unset_variable"):
        expected = context["expected"]
    elif kind == "string_too_short":
        expected = "text that is not empty"
    else:
        expected = str(error["msg"])
    hint = str(context.get("hint", ""))
    if kind == "bool_type" and isinstance(error["input"], str | int):
        hint = " Write true or false without quotes."
    elif kind in ("int_type", "float_type") and isinstance(error["input"], str):
        hint = " Write the number without quotes or units."
    elif kind == "string_type" and isinstance(error["input"], int | float | bool | datetime.date):
        hint = " Put it in quotes."
    return f"{name}: found {_shown(error['input'])}, expected {expected}.{hint}"


def unknown_key(name: str) -> str:
    """Name the key that was probably meant: known from elsewhere, similar in its section, or so called in another."""
    section, _, leaf = name.rpartition(".")
    prefix = section + "." if section else ""
    names = list(valid_names())
    full = {valid.rpartition(".")[2]: valid for valid in reversed(names)}  # last word -> first name that ends so
    inside = [
        word for above, _, word in (valid.rpartition(".") for valid in names) if above == _without_positions(section)
    ]
    if leaf in KNOWN_ELSEWHERE:
        meant = KNOWN_ELSEWHERE[leaf]
    elif near := difflib.get_close_matches(leaf, inside, 1, 0.6):
        meant = prefix + near[0]
    elif near := difflib.get_close_matches(leaf, full, 1, 0.75):
        meant = full[near[0]]
    elif section and inside:
        return f"{name}: unknown key. {section} has: {', '.join(inside)}."
    else:
        return f"{name}: unknown key. Sections are: {', '.join(valid for valid in names if '.' not in valid)}."
    return f"{name}: unknown key. Did you mean {meant}?"


@cache
def valid_names() -> dict[str, str]:
    """Every dotted name with its description; entries of lists as judges[].use."""
    from online_rl.config.model import Config

    names: dict[str, str] = {}
    _collect(Config, "", names)
    return names


def dotted(loc: tuple[int | str, ...]) -> str:
    """("judges", 0, "use") -> judges[0].use"""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def _collect(model: type[BaseModel], prefix: str, names: dict[str, str]) -> None:
    for key, info in model.model_fields.items():
        names[prefix + key] = info.description or ""
        inner: Any = info.annotation
        suffix = "."
        if typing.get_origin(inner) is list:
            inner, suffix = typing.get_args(inner)[0], "[]."
        if isinstance(inner, type) and not isinstance(inner, types.GenericAlias) and issubclass(inner, BaseModel):
            _collect(inner, prefix + key + suffix, names)


def _description(name: str) -> str:
    return valid_names().get(_without_positions(name), "a value")


def _without_positions(name: str) -> str:
    return ".".join(part.split("[")[0] + "[]" if "[" in part else part for part in name.split("."))


def _shown(value: Any) -> str:
    """A value as it would stand in YAML, cut if it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, datetime.date):
        return f"the date {value}"
    text = repr(value) if not isinstance(value, dict) else "keys with values below it"
    return text if len(text) <= 80 else text[:77] + "..."
