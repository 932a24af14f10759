"""A ref_model that is not the policy's start, `ref_model.path`: whether it can stand beside the policy at all."""

from __future__ import annotations

from typing import Any

from online_rl.config import Config
from online_rl.demo.prepare import prepare
from online_rl.errors import ConfigError
from online_rl.policy.load import check_weights, read_config, read_processor

KEY = "ref_model.path"


def read_ref_model(cfg: Config, policy_config: Any, policy_processor: Any) -> str | None:
    """Folder or name of the ref_model; None if it is the policy's start.

    It reads the policy's token ids and images, so architecture and vocabulary must be the policy's; the size may
    differ. Raises ConfigError, which names ref_model.path, before any weight loads.
    """
    if cfg.ref_model.path is None:
        return None
    own = cfg.model_copy(update={"model": cfg.model.model_copy(update={"path": cfg.ref_model.path})})
    path = str(prepare(own).policy or cfg.ref_model.path)
    try:
        config = read_config(path, own)
        check_weights(path, own, config)
        processor = read_processor(path, own)
    except ConfigError as problem:
        raise ConfigError(str(problem).replace("model.path", KEY, 1)) from None
    if config.model_type != policy_config.model_type:
        raise ConfigError(
            f"{KEY}: found {cfg.ref_model.path!r} of type {config.model_type}, expected {policy_config.model_type}, as "
            f"model.path={cfg.model.path!r} is: both read the same images. Name a policy of that architecture."
        )
    if processor.tokenizer.get_vocab() != policy_processor.tokenizer.get_vocab():
        raise ConfigError(
            f"{KEY}: found {cfg.ref_model.path!r}, whose tokenizer has another vocabulary than that of "
            f"model.path={cfg.model.path!r}; expected the same, as both read the same token ids. Name a policy of the "
            "same family."
        )
    return path
