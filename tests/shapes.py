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
LANGUAGE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,  # of 32, the least that vLLM's attention has on a CPU
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "bos_token_id": None,
}


def make_qwen2_5_vl(folder: Path) -> None:
    """Qwen2.5-VL as its 3B: one row per image patch, positions in three axes, output tied to the embedding."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = _tokenizer(QWEN_WORDS, end="<|im_end|>")
    ids = dict(zip(QWEN_WORDS, tokenizer.convert_tokens_to_ids(QWEN_WORDS), strict=True))
    pixels = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 16}  # 1 to 16 tokens per image
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=pixels),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=pixels),
        chat_template=QWEN_TEMPLATE,
    )
    config = Qwen2_5_VLConfig(
        text_config=LANGUAGE
        | {"vocab_size": len(tokenizer), "eos_token_id": ids["<|im_end|>"], "tie_word_embeddings": True}
        | {"rope_scaling": {"rope_type": "default", "mrope_section": [4, 6, 6]}},
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_heads": 2,
            "out_hidden_size": LANGUAGE["hidden_size"],
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    _save(folder, Qwen2_5_VLForConditionalGeneration(config), processor)


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


SHAPES: dict[str, Callable[[Path], None]] = {"qwen2_5_vl": make_qwen2_5_vl, "smolvlm": make_smolvlm}


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
