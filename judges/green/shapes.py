"""LLaMAs of GREEN's shape with random weights, and a tokenizer of its class, made on the spot.

GREEN's weights are not always at hand: tests, benchmarks and first tries of a judge server run on these. Their answers
mean nothing, and can be read only when the server is made to keep to the format (`constrain: always`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from judges.green.prompt import render

# hidden size, layers, attention heads, width of the MLP (2.69 times the hidden size, as LLaMA-2's), smallest vocabulary
SHAPES: dict[str, tuple[int, int, int, int, int]] = {
    "tiny": (64, 2, 2, 172, 0),
    "5M": (256, 6, 4, 688, 0),
    "20M": (384, 10, 6, 1024, 0),
    "7B": (4096, 32, 32, 11008, 32000),  # StanfordAIMI/GREEN-radllama2-7b's
}
VOCABULARY = 896  # so small that the prompt is as long as with LLaMA's 32,000 pieces, though trained on it alone
SPECIAL = ("<unk>", "<s>", "</s>")
REPORTS = (
    "The heart is normal in size. The mediastinum is unremarkable. The lungs are clear.",
    "Small left pleural effusion with adjacent atelectasis. No pneumothorax.",
    "Interval increase of the right lower lobe opacity, which may represent pneumonia. 0 1 2 3 4 5 6 7 8 9",
)


def write_checkpoint(folder: Path, shape: str = "tiny", seed: int = 0, dtype: str = "float32") -> Path:
    """Write a checkpoint that transformers and vLLM load; returns its folder. `shape` is a key of SHAPES."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, layers, heads, mlp, least_vocabulary = SHAPES[shape]
    vocabulary = save_tokenizer(folder)
    config = LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        intermediate_size=mlp,
        vocab_size=max(vocabulary, least_vocabulary),
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        dtype=dtype,
    )
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))  # 7B in float32 first would need twice the memory
    try:
        model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.generation_config.update(bos_token_id=1, eos_token_id=2)
    model.save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path) -> int:
    """Write the tokenizer's files as LLaMA-2's are written; returns the size of the vocabulary."""
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    stated = {"add_bos_token": True, "add_eos_token": False}  # LLaMA-2's has both, transformers 5 writes neither
    settings.write_text(json.dumps(json.loads(settings.read_text()) | stated, indent=2))
    return len(tokenizer)


def make_tokenizer() -> Any:
    """A LlamaTokenizer (BPE with byte fallback, `<s>` in front) trained on GREEN's prompt and `REPORTS`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaTokenizer

    bpe = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    pieces = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=pieces, show_progress=False)
    lines = [line for text in (render("", ""), *REPORTS) for line in text.splitlines()]
    bpe.train_from_iterator(lines, trainer)
    trained = json.loads(bpe.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in trained["merges"]]
    return LlamaTokenizer(vocab=trained["vocab"], merges=merges, add_bos_token=True)
