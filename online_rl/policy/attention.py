"""By which code attention is computed, in the language part and in the vision encoder."""

from __future__ import annotations

from online_rl.config import Config
from online_rl.errors import ConfigError


def attention_of(cfg: Config) -> str | dict[str, str]:
    """transformers' argument `attn_implementation`: a name for all parts, or one for each."""
    text, vision = cfg.model.attn_implementation, cfg.model.vision_attn_implementation
    return text if vision is None else {"": text, "text_config": text, "vision_config": vision}


def refuse_absent_attention(cfg: Config) -> None:
    """Raise ConfigError for an attention whose package is not installed, or that cannot compute in model.dtype."""
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    there = {"flash_attention_2": is_flash_attn_2_available, "flash_attention_3": is_flash_attn_3_available}
    for key in ("attn_implementation", "vision_attn_implementation"):
        name = getattr(cfg.model, key)
        if name not in there:
            continue
        if not there[name]():
            raise ConfigError(
                f"model.{key}: found {name}, whose package cannot be used here. Install flash-attn for this torch and "
                "GPU, or take sdpa, which needs nothing."
            )
        if cfg.model.dtype == "float32":
            raise ConfigError(f"model.{key}: found {name} with model.dtype=float32, expected bfloat16 or float16.")
