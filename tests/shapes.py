"""Tiny policies in the shapes that users bring, with random weights made on the spot.

Each function writes a Hugging Face folder: processor, chat template and model as their makers publish them, at sizes of
a second. Weights are drawn large enough for the images and every layer to matter to what is written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

TEXTS = ("The lungs are clear. No pleural effusion or pneumothorax.", "Small left pleural effusion.", "User Assistant")
QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}{% if c['type'] == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWEN_WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
QWEN_WORDS += ["<|image_pad|>", "<|video_pad|>"]
LANGUAGE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,  # of 32, the least that vLLM's attention has on a CPU
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "bos_token_id": None,
}
VISION = {  # Qwen-VL's keys
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_heads": 2,
    "out_hidden_size": LANGUAGE["hidden_size"],
}


def make_qwen2_5_vl(folder: Path) -> None:
    """Qwen2.5-VL as its 3B: one row per image patch, positions in three axes, output tied to the embedding."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLVideoProcessor,
    )

    processor = _qwen_processor(Qwen2_5_VLProcessor, Qwen2VLVideoProcessor, patch=14)
    config = Qwen2_5_VLConfig(
        text_config=LANGUAGE
        | {"vocab_size": len(processor.tokenizer), "eos_token_id": processor.tokenizer.eos_token_id}
        | {"rope_scaling": {"rope_type": "default", "mrope_section": [4, 6, 6]}, "tie_word_embeddings": True},
        vision_config=VISION | {"fullatt_block_indexes": [1]},
        tie_word_embeddings=True,
        **_qwen_ids(processor),
    )
    _save(folder, Qwen2_5_VLForConditionalGeneration(config), processor)


def make_qwen3_vl(folder: Path) -> None:
    """Qwen3-VL: features of two depths of the vision encoder go to two layers of the language model."""
    from transformers import (
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    processor = _qwen_processor(Qwen3VLProcessor, Qwen3VLVideoProcessor, patch=16)
    rope = {"rope_type": "default", "mrope_section": [6, 5, 5], "mrope_interleaved": True, "rope_theta": 1e6}
    config = Qwen3VLConfig(
        text_config=LANGUAGE
        | {"vocab_size": len(processor.tokenizer), "eos_token_id": processor.tokenizer.eos_token_id}
        | {"head_dim": 32, "rope_parameters": rope, "num_hidden_layers": 3},
        vision_config=VISION | {"depth": 3, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64},
        **_qwen_ids(processor),
    )
    _save(folder, Qwen3VLForConditionalGeneration(config), processor)


def _qwen_processor(processor_class: Any, video_class: Any, patch: int) -> Any:
    from transformers import Qwen2VLImageProcessor

    side = 2 * patch  # of a token
    pixels = {"shortest_edge": side**2, "longest_edge": 16 * side**2}
    return processor_class(
        image_processor=Qwen2VLImageProcessor(size=pixels, patch_size=patch),
        tokenizer=_tokenizer(QWEN_WORDS, end="<|im_end|>"),
        video_processor=video_class(size=pixels, patch_size=patch),
        chat_template=QWEN_TEMPLATE,
    )


def _qwen_ids(processor: Any) -> dict[str, int]:
    words = {"image_token": "image_pad", "video_token": "video_pad"}
    words |= {"vision_start_token": "vision_start", "vision_end_token": "vision_end"}
    return {f"{key}_id": processor.tokenizer.convert_tokens_to_ids(f"<|{word}|>") for key, word in words.items()}


def make_smolvlm(folder: Path) -> None:
    """SmolVLM2: an image becomes a grid of tiles and itself made small, so studies differ in their number of tiles."""
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    from online_rl.demo.policy import SPECIAL, TEMPLATE

    tokenizer = _tokenizer(SPECIAL, end="<end_of_utterance>")
    side, patch, shrink = 56, 14, 2
    tile = {"longest_edge": side}
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(size={"longest_edge": 2 * side}, max_image_size=tile),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(size=tile, max_image_size=tile),
        image_seq_len=(side // patch // shrink) ** 2,
        chat_template=TEMPLATE,
    )
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = SmolVLMConfig(
        text_config=LANGUAGE | {"model_type": "llama", "vocab_size": len(tokenizer)} | ends,
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": side,
            "patch_size": patch,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=shrink,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    _save(folder, SmolVLMForConditionalGeneration(config), processor)


SHAPES: dict[str, Callable[[Path], None]] = {
    "qwen2_5_vl": make_qwen2_5_vl,
    "qwen3_vl": make_qwen3_vl,
    "smolvlm": make_smolvlm,
}


def _tokenizer(special: list[str], end: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trainer)
    others = [word for word in special[1:] if word != end]
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=special[0], eos_token=end, additional_special_tokens=others
    )


def _save(folder: Path, model: Any, processor: Any) -> None:
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:  # norms stay as they are
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=random) * (1.5 / fan_in**0.5))
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
