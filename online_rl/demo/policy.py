"""The demo policy: a small Idefics3-architecture model, its tokenizer and processor, with untrained weights.

The architecture is the one that transformers and vLLM serve for Idefics3 and SmolVLM; only the sizes are a laptop's.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

IMAGE_SIDE, PATCH, SHRINK = 112, 14, 2
IMAGE_TOKENS = (IMAGE_SIDE // PATCH // SHRINK) ** 2  # 16 after the connector's pixel shuffle
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<end_of_utterance>"]  # padding, start and end of a turn
SPECIAL += ["<image>", "<fake_token_around_image>", "<global-img>"]
VOCABULARY = 1024
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] | capitalize }}: "
    "{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %}{{ c['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def make_processor(texts: Iterable[str]):
    """A byte-level BPE trained on `texts` (so any report can be written), with Idefics3's image processing."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Idefics3ImageProcessorPil, Idefics3Processor, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE(unk_token=None))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=SPECIAL[0],
        eos_token=SPECIAL[2],
        additional_special_tokens=[SPECIAL[1], *SPECIAL[3:]],
    )
    side = {"longest_edge": IMAGE_SIDE}
    images = Idefics3ImageProcessorPil(do_image_splitting=False, size=side, max_image_size=side)
    return Idefics3Processor(
        image_processor=images, tokenizer=tokenizer, image_seq_len=IMAGE_TOKENS, chat_template=TEMPLATE
    )


def make_model(processor, seed: int):
    """Random weights, about 3 million parameters, float32."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, LlamaConfig

    tokenizer = processor.tokenizer
    torch.manual_seed(seed)
    config = Idefics3Config(
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIDE,
            "patch_size": PATCH,
        },
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=2048,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=SHRINK,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def save_policy(folder: Path, model, processor) -> None:
    """A Hugging Face folder, as any other policy's."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
