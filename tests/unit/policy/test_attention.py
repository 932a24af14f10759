"""Which attention the parts of a policy compute with, and what is refused before weights load."""

import pytest

from online_rl.config import config_from_dict
from online_rl.demo.policy import make_model, save_policy
from online_rl.errors import ConfigError
from online_rl.policy.attention import attention_of, refuse_absent_attention


def config(**model):
    return config_from_dict({"model": model})


def test_the_vision_encoder_may_have_another_than_the_language_part(tmp_path, demo_processor):
    from transformers import AutoModelForImageTextToText

    save_policy(tmp_path, make_model(demo_processor, seed=0), demo_processor)
    chosen = attention_of(config(vision_attn_implementation="eager"))
    model = AutoModelForImageTextToText.from_pretrained(tmp_path, attn_implementation=chosen)
    used = {
        name: part.config._attn_implementation for name, part in model.model.named_children() if name != "connector"
    }
    assert used == {"vision_model": "eager", "text_model": "sdpa"}


@pytest.mark.parametrize("key", ["attn_implementation", "vision_attn_implementation"])
def test_an_attention_that_cannot_compute_here_is_refused(monkeypatch, key):
    cfg = config(**{key: "flash_attention_2"}, dtype="float32")
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: False)
    with pytest.raises(ConfigError, match=rf"model\.{key}: found flash_attention_2, whose package .* take sdpa"):
        refuse_absent_attention(cfg)
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)
    with pytest.raises(ConfigError, match=r"with model\.dtype=float32"):
        refuse_absent_attention(cfg)
    refuse_absent_attention(config(**{key: "flash_attention_2"}, dtype="bfloat16"))


def test_a_name_that_transformers_does_not_know_is_refused():
    with pytest.raises(ConfigError, match=r"model\.attn_implementation.*flash_attention_2"):
        config(attn_implementation="flash")
