"""Names on disk: those that `save_pretrained` writes, one for each weight in memory."""

import pytest
import torch
from safetensors.torch import load_file

from online_rl.errors import ConfigError
from online_rl.policy.names import disk_names

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": None,
}
VISION = {"depth": 1, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "fullatt_block_indexes": [0]}


def test_names_are_those_in_the_saved_files(demo_model, tmp_path):
    names = disk_names(demo_model)
    demo_model.save_pretrained(tmp_path)
    written = {}
    for path in tmp_path.glob("*.safetensors"):
        written |= load_file(path)
    memory = dict(demo_model.named_parameters())
    assert names.keys() == memory.keys()
    assert sorted(names.values()) == sorted(written)  # each name on disk exactly once
    for name, on_disk in names.items():
        torch.testing.assert_close(memory[name].detach(), written[on_disk], rtol=0, atol=0)


def test_names_that_differ_on_disk():
    """Qwen2.5-VL is called `model.language_model.layers...` in memory and `model.layers...` on disk."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config={**SMALL, "rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2]}},
        vision_config={**VISION, "out_hidden_size": 16},
        **{"image_token_id": 1, "video_token_id": 2, "vision_start_token_id": 3, "vision_end_token_id": 4},
    )
    names = disk_names(Qwen2_5_VLForConditionalGeneration(config))
    assert names["model.language_model.layers.0.mlp.up_proj.weight"] == "model.layers.0.mlp.up_proj.weight"
    assert names["model.visual.merger.mlp.0.weight"] == "visual.merger.mlp.0.weight"
    assert len(set(names.values())) == len(names)


def test_names_under_zero_3_are_those_of_the_checkpoint_that_was_loaded(tmp_path):
    """transformers knows older names of Gemma 3 too, and under ZeRO-3 would write those."""
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.integrations.deepspeed import _apply_weight_conversions_to_state_dict

    vision = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=SMALL | {"head_dim": 8},
        vision_config=vision | {"image_size": 28, "vision_use_head": False},
        mm_tokens_per_image=1,
    )
    model = Gemma3ForConditionalGeneration(config)
    model.save_pretrained(tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    conversions = get_model_conversion_mapping(model)  # from here on as `from_pretrained` does it under ZeRO-3
    _apply_weight_conversions_to_state_dict(model, dict(written), conversions)
    model._weight_conversions = conversions
    assert sorted(disk_names(model).values()) == sorted(written)


def test_weights_merged_in_memory_are_refused():
    """A mixture of experts is one tensor in memory and one per expert on disk."""
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    experts = {"moe_intermediate_size": 8, "num_experts": 2, "num_experts_per_tok": 1, "head_dim": 8}
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**SMALL, **experts))
    with pytest.raises(ConfigError, match="Qwen3MoeForCausalLM splits or merges weights"):
        disk_names(model)
