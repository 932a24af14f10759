"""Reading a policy: whether it can be trained and served at all, before any weight loads; then its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from online_rl.config import Config
from online_rl.errors import ConfigError
from online_rl.policy.attention import attention_of, refuse_absent_attention
from online_rl.policy.folder import refuse_broken_weights, refuse_no_model, refuse_other_weights
from online_rl.policy.model import freeze_vision, refuse_undivided, without_dropout
from online_rl.policy.names import disk_names
from online_rl.rollout.engine import served_architectures
from online_rl.rollout.partners import refuse_uneven
from online_rl.rollout.versions import check_version

SERVED = "Qwen2.5-VL, Qwen3-VL, Gemma 3 (MedGemma), LLaVA-OneVision, Idefics3 and SmolVLM"


def read_policy(path: str, cfg: Config) -> tuple[Any, Any]:
    """(configuration, processor) of the policy at `path`, a folder or a name on the hub.

    Raises ConfigError if they cannot be read, or if transformers cannot train the architecture, vLLM cannot serve it,
    live weights cannot be sent from one to the other, or a folder's weights are not whole.
    """
    config = read_config(path, cfg)
    check_weights(path, cfg, config)
    return config, read_processor(path, cfg)


def read_config(path: str, cfg: Config) -> Any:
    """The policy's configuration, checked by `refuse_unservable`. Raises ConfigError, for an absent attention too."""
    from transformers import AutoConfig, PretrainedConfig

    refuse_no_model(path)
    refuse_absent_attention(cfg)
    try:
        raw, _ = PretrainedConfig.get_config_dict(path, revision=cfg.model.revision)  # runs no code of the model's
        if not raw:
            raise OSError("it has no config.json")
        refuse_unservable(raw, cfg)
        config = AutoConfig.from_pretrained(path, **_hub(cfg))
    except (OSError, ValueError) as problem:
        if isinstance(problem, ConfigError):
            raise
        raise _unreadable(path, cfg, problem) from None
    if not raw.get("auto_map"):  # code that comes with a model may need its weights
        _refuse_unsyncable(config, cfg)
    refuse_uneven(config, cfg)
    return config


def check_weights(path: str, cfg: Config, config: Any) -> None:
    """Raise ConfigError if the folder's weights are missing, damaged, or not those of its configuration.

    None is read, so it takes as long for a large model as for a small one. A name on the hub is left to the hub.
    """
    from transformers import AutoModelForImageTextToText

    refuse_broken_weights(path)
    if not getattr(config, "auto_map", None):  # code that comes with a model may need its weights
        with quiet_transformers():
            refuse_other_weights(path, AutoModelForImageTextToText, dtype=cfg.model.dtype)


def load_model(path: str, cfg: Config, ds_config: dict[str, Any]) -> Any:
    """The policy's model without dropout, in model.dtype, partitioned over the ranks as `ds_config` says."""
    import torch
    from transformers import AutoModelForImageTextToText
    from transformers.integrations import HfDeepSpeedConfig

    keep_alive = HfDeepSpeedConfig(ds_config)  # while it exists, from_pretrained partitions what it loads
    with quiet_transformers():
        model = AutoModelForImageTextToText.from_pretrained(
            path,
            dtype=getattr(torch, cfg.model.dtype),
            attn_implementation=attention_of(cfg),
            **_hub(cfg),
        )
    del keep_alive
    without_dropout(model)
    return model


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Show no progress bar per rank while weights load, and no table of weights beside our own message."""
    from transformers.utils import logging as hf_logging

    was_on, verbosity = hf_logging.is_progress_bar_enabled(), hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if was_on:
            hf_logging.enable_progress_bar()


def read_processor(path: str, cfg: Config) -> Any:
    """The policy's processor. Raises ConfigError if it cannot be read, or needs a package that is not installed."""
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(path, **_hub(cfg))
    except ImportError as problem:
        needed = " ".join(str(problem).split()).partition(". ")[0]
        raise ConfigError(
            f"model.path: the processor of {cfg.model.path!r} needs a package that is not installed ({needed}). The "
            "set for GPUs has it; the one for CPUs leaves torchvision out, which Idefics3 and PaliGemma do without."
        ) from None
    except (OSError, ValueError) as problem:
        raise _unreadable(path, cfg, problem, "the processor of ") from None


def refuse_unservable(raw: dict[str, Any], cfg: Config) -> None:
    """Raise ConfigError for a model that transformers cannot train or vLLM cannot serve. `raw` is its config.json."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as trainable

    own_code = raw.get("auto_map") or {}
    architecture = next(iter(raw.get("architectures") or []), None) or trainable.get(raw.get("model_type"), "model")
    problems = []
    if raw.get("model_type") not in trainable and "AutoModelForImageTextToText" not in own_code:
        reason = f"transformers {transformers.__version__} has no image-text-to-text model of its type"
        if own_code:
            written_for = raw.get("transformers_version")
            reason += ", and the code that comes with it " + (
                f"was written for transformers {written_for}" if written_for else "brings none"
            )
        problems.append(reason)
    elif own_code and raw.get("model_type") not in trainable and not cfg.model.trust_remote_code:
        problems.append("it is Python code of its own, which model.trust_remote_code=false keeps from running")
    if architecture not in served_architectures() and not hasattr(transformers, architecture):
        problems.append(f"vLLM {check_version()} does not serve it")
    if problems:
        raise ConfigError(
            f"model.path: {cfg.model.path!r} is a {architecture} (model_type {raw.get('model_type')!r}), which cannot "
            f"be trained here: {'; '.join(problems)}. Name a policy that both know, such as {SERVED}."
        )


def _refuse_unsyncable(config: Any, cfg: Config) -> None:
    """Build the model on the meta device and run the checks for loading, freezing and syncing. Raises ConfigError."""
    import torch
    from transformers import AutoModelForImageTextToText

    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    refuse_undivided(model)
    disk_names(model)
    if cfg.model.freeze_vision:
        freeze_vision(model)


def _hub(cfg: Config) -> dict[str, Any]:
    return {"revision": cfg.model.revision, "trust_remote_code": cfg.model.trust_remote_code}


def _unreadable(path: str, cfg: Config, problem: Exception, part: str = "") -> ConfigError:
    reason = str(problem).partition("\n")[0]
    if Path(path).is_dir():
        remedy = (
            "It is a folder of this machine, so the hub is not asked: copy what is missing there from the model that "
            "it came from (config.json, preprocessor_config.json, tokenizer.json, chat_template.jinja)."
        )
    else:
        remedy = (
            f"Check the name, your access to it (hf auth login), and the network; there is no folder of that name in "
            f"{Path.cwd()} either."
        )
    return ConfigError(f"model.path: {part}{cfg.model.path!r} cannot be read ({reason}). {remedy}")
