"""Policies that cannot be trained here are refused from their config.json alone, with the reason."""

from __future__ import annotations

import json

import pytest

from online_rl.config import config_from_dict
from online_rl.demo.policy import make_model, save_policy
from online_rl.errors import ConfigError
from online_rl.policy.load import read_config, read_policy, read_processor

pytestmark = pytest.mark.usefixtures("one_thread")

CHEXAGENT = {  # Python code of its own for AutoModelForCausalLM
    "architectures": ["CheXagentForCausalLM"],
    "auto_map": {
        "AutoConfig": "configuration_chexagent.CheXagentConfig",
        "AutoModelForCausalLM": "modeling_chexagent.CheXagentForCausalLM",
    },
    "model_type": "chexagent",
    "transformers_version": "4.40.0",
}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64}
UNKNOWN = {"architectures": ["TomorrowForConditionalGeneration"], "model_type": "tomorrow"}
QWEN_EXPERTS = {
    "architectures": ["Qwen3VLMoeForConditionalGeneration"],
    "model_type": "qwen3_vl_moe",
    "text_config": {
        "vocab_size": 64,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_experts": 2,
    },
    "vision_config": {"depth": 1, "hidden_size": 16, "out_hidden_size": 16, "num_heads": 2},
}


def cfg(folder, **model):
    return config_from_dict({"model": {"path": str(folder), **model}})


def write(folder, config):
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


@pytest.mark.parametrize("trust", [False, True])
def test_chexagent_2_is_refused_with_both_reasons_and_without_running_its_code(tmp_path, trust):
    """Its code asserts transformers 4.40, and vLLM does not know it."""
    (tmp_path / "configuration_chexagent.py").write_text("raise SystemExit('this code ran')")
    with pytest.raises(ConfigError) as refused:
        read_config(write(tmp_path, CHEXAGENT), cfg(tmp_path, trust_remote_code=trust))
    message = str(refused.value)
    for words in ("model.path", str(tmp_path), "CheXagentForCausalLM", "written for transformers 4.40.0", "Qwen2.5-VL"):
        assert words in message
    assert "vLLM 0.32" in message and "does not serve it" in message


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (LLAMA, "a LlamaForCausalLM .*no image-text-to-text model of its type"),
        (UNKNOWN, "a TomorrowForConditionalGeneration .*no image-text-to-text model.*does not serve it"),
        ({"model_type": "bert"}, "model_type 'bert'"),
        (QWEN_EXPERTS, "Qwen3VLMoeForConditionalGeneration splits or merges weights"),
        (LLAMA | {"auto_map": {"AutoModelForImageTextToText": "own.Model"}}, "model.trust_remote_code=false"),
    ],
)
def test_what_cannot_be_trained_or_synced_is_refused_before_weights_load(tmp_path, config, words):
    with pytest.raises(ConfigError, match=words):
        read_config(write(tmp_path, config), cfg(tmp_path))


def test_the_demo_policy_is_read(tmp_path, demo_processor):
    save_policy(tmp_path, make_model(demo_processor, seed=0), demo_processor)
    config, processor = read_policy(str(tmp_path), cfg(tmp_path))
    assert config.model_type == "idefics3" and processor.image_token == "<image>"


def test_vision_that_cannot_be_frozen_is_found_before_weights_load(tmp_path):
    """Fuyu has no vision encoder: patches go straight into the language model."""
    path = write(tmp_path, {"architectures": ["FuyuForCausalLM"], "model_type": "fuyu", "num_hidden_layers": 1})
    with pytest.raises(ConfigError, match="FuyuForCausalLM has no part named .*model.freeze_vision=false"):
        read_config(path, cfg(tmp_path))
    assert read_config(path, cfg(tmp_path, freeze_vision=False)).model_type == "fuyu"


def test_nothing_at_the_path(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for read in (read_config, read_processor):
        with pytest.raises(ConfigError, match="no config.json|copy what is missing there"):
            read(str(tmp_path), cfg(tmp_path))
        with pytest.raises(ConfigError, match="cannot be read .*Check the name.*no folder of that name in"):
            read("nobody/nothing", cfg("nobody/nothing"))


def test_a_processor_whose_package_is_missing_says_which(tmp_path, demo_processor, monkeypatch):
    from transformers import AutoProcessor

    def without_torchvision(*args, **keywords):
        raise ImportError(
            "\nQwen2VLVideoProcessor requires the Torchvision library but it was not found. Check it out."
        )

    monkeypatch.setattr(AutoProcessor, "from_pretrained", without_torchvision)
    with pytest.raises(ConfigError, match=r"processor of .* needs .*\(Qwen2VLVideoProcessor requires the Torchvision"):
        read_processor(str(tmp_path), cfg(tmp_path))
