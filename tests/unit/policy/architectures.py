"""Small random models of the architectures that the package trains, and the layout of each one's images."""

from __future__ import annotations

import torch

TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
ENCODER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
SQUARE = ENCODER | {"image_size": 16, "patch_size": 4}  # 16 patches
IDS = {"image_token_id": 1, "video_token_id": 2, "vision_start_token_id": 3, "vision_end_token_id": 4}
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}


def idefics3(name):
    import transformers

    text = transformers.LlamaConfig(**TEXT) if name == "Idefics3" else {"model_type": "llama", **TEXT}
    config = getattr(transformers, f"{name}Config")(
        vision_config=dict(SQUARE), text_config=text, image_token_id=1, scale_factor=2, pad_token_id=0
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config)


def pixels(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tiles(images, seed):
    """(1, images, 3, H, W), 4 tokens each."""
    return 4 * images, {"pixel_values": pixels(seed, 1, images, 3, 16, 16)}


def qwen2_5():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 3, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "fullatt_block_indexes": [1]}
    vision |= {"out_hidden_size": 32, "patch_size": 4, "window_size": 16}
    text = TEXT | {"rope_parameters": MROPE}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **IDS))


def qwen3():
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {"depth": 3, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 4}
    vision |= {"out_hidden_size": 32, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
    text = TEXT | {"head_dim": 16, "rope_parameters": MROPE}
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **IDS))


def patches(images, seed):
    """Qwen's layout: the patches of all images end to end, with a grid per image; other sizes in every study."""
    grid = torch.tensor([[1, 4, 4 + 2 * (seed % 2)]] * images)
    count = int(grid.prod(-1).sum())
    tokens = count // 4
    inputs = {"pixel_values": pixels(seed, count, 3 * 2 * 4 * 4), "image_grid_thw": grid}
    return tokens, inputs


def gemma3():
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = TEXT | {"head_dim": 16, "sliding_window": 512}
    vision = SQUARE | {"vision_use_head": False}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=1)
    return Gemma3ForConditionalGeneration(config)


def squares(images, seed):
    """Gemma's layout: (images, 3, H, W)."""
    return 4 * images, {"pixel_values": pixels(seed, images, 3, 16, 16)}


def llava():
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    vision = SQUARE | {"model_type": "clip_vision_model"}
    config = LlavaConfig(text_config={"model_type": "llama", **TEXT}, vision_config=vision, image_token_index=1)
    return LlavaForConditionalGeneration(config)  # reads the last but one layer, without its class token


def clip(images, seed):
    return 16 * images, {"pixel_values": pixels(seed, images, 3, 16, 16)}


MODELS = {
    "Idefics3": (lambda: idefics3("Idefics3"), tiles),
    "SmolVLM": (lambda: idefics3("SmolVLM"), tiles),
    "Qwen2.5-VL": (qwen2_5, patches),
    "Qwen3-VL": (qwen3, patches),
    "Gemma 3": (gemma3, squares),
    "LLaVA": (llava, clip),
}
