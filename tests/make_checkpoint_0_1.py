"""Make `tests/data/checkpoint_0_1`: a checkpoint of version 0.1, which today's version must continue.

    git worktree add ../old 5ff03d9
    cd ../old && PYTHONPATH=. python PATH/TO/tests/make_checkpoint_0_1.py PATH/TO/tests/data/checkpoint_0_1

It was run so once, on CPU, with the pinned requirements; it needs nothing of the demo, of the tests or of the
repository that it lies in. The fixture holds `step-2` of a run that stopped there, the resolved configuration of that
run, and the records of steps 3 and 4 of a run that did not stop. The test writes the same inputs by `write_inputs`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# Keys of 0.1 that are renamed or dropped since, away from their defaults.
CONFIG = """
run: {dir: run}
model: {path: policy, dtype: float32}
data: {reader: jsonl, path: studies.jsonl, max_images: 1, prompt: "lungs"}
rollout:
  {group_size: 4, studies_per_step: 2, max_completion_tokens: 8, max_model_len: 64, max_num_seqs: 8, kv_cache_gib: 2.0}
judges: [{use: "reward.py:long_words"}]
algorithm: {name: online_dpo, online_dpo: {beta: 0.3}}
ref_model: {read_ahead: false}
train: {max_steps: 4, learning_rate: 1e-2, warmup_ratio: 0.0, micro_batch_tokens: 256, share_prompts: false}
deepspeed: {persistence_threshold: 0}
"""
REWARD = """
def long_words(completions, **columns):
    return [sum(len(word) > 5 for word in text.split()) / max(1, len(text.split())) for text in completions]
"""
WORDS = [
    "the",
    "lungs",
    "are",
    "clear",
    "no",
    "pleural",
    "effusion",
    "pneumothorax",
    "heart",
    "enlarged",
    "left",
    "nodule",
]
SPECIAL = ["<pad>", "<|im_start|>", "<end>", "<image>", "<fake_token_around_image>", "<global-img>", "<unk>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{% for c in m['content'] %}{% if c['type'] == 'image' %}<image>{% else %} "
    "{{ c['text'] }}{% endif %}{% endfor %}<end>{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"
)
SIDE, PATCH, SHRINK, WIDTH = 16, 4, 2, 32


def write_inputs(folder: Path) -> None:
    """Write what the configuration names: policy, studies with their images, reward."""
    from PIL import Image

    write_policy(folder / "policy")
    (folder / "reward.py").write_text(REWARD)
    rows = []
    for i in range(8):
        Image.linear_gradient("L").rotate(45 * i).resize((SIDE, SIDE)).save(folder / f"{i}.png")
        row = {"study_id": f"s{i}", "patient_id": f"p{i}", "image_paths": [f"{i}.png"], "indication": "cough"}
        rows.append(row | {"findings": " ".join(WORDS[i : i + 5]), "split": "train" if i < 6 else "eval"})
    (folder / "studies.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_policy(folder: Path) -> None:
    """Write an Idefics3 of 20,000 parameters whose weights are drawn by a seeded generator."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        Idefics3Config,
        Idefics3ForConditionalGeneration,
        Idefics3ImageProcessorPil,
        Idefics3Processor,
        LlamaConfig,
        PreTrainedTokenizerFast,
    )

    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*SPECIAL, *WORDS])}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", additional_special_tokens=[
            "<|im_start|>", "<image>", "<fake_token_around_image>", "<global-img>"
        ],
    )  # fmt: skip
    side = {"longest_edge": SIDE}
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(do_image_splitting=False, size=side, max_image_size=side),
        tokenizer=tokenizer,
        image_seq_len=(SIDE // PATCH // SHRINK) ** 2,
        chat_template=TEMPLATE,
    )
    sizes: dict[str, Any] = {
        "hidden_size": WIDTH,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
    }
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = Idefics3Config(
        vision_config=sizes | {"image_size": SIDE, "patch_size": PATCH},
        text_config=LlamaConfig(
            **sizes, **ends, num_key_value_heads=1, vocab_size=len(tokenizer), max_position_embeddings=64,
            bos_token_id=None,
        ),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=SHRINK,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model, random = Idefics3ForConditionalGeneration(config), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:  # norms stay as they are
                scale = 1.5 / parameter[0].numel() ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=random) * scale)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def train(folder: Path, *settings: str, code: int = 0) -> None:
    """Train with `folder` as the working directory; the installed version, or that of PYTHONPATH, is used."""
    command = [sys.executable, "-m", "online_rl.train", "--config", "config.yaml", *settings]
    env = os.environ | {"PYTHONPATH": str(Path(os.environ.get("PYTHONPATH", ".")).resolve()), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, cwd=folder, env=env).returncode
    if found != code:
        raise SystemExit(f"exit code {found}, expected {code}: {' '.join(command)}")


def main() -> None:
    target = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_inputs(folder)
        (folder / "config.yaml").write_text(CONFIG)
        train(folder, "run.dir=whole")
        train(folder, "train.stop_after=2", code=75)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(folder / "run" / "checkpoints" / "step-2", target / "step-2")
        shutil.copy(folder / "run" / "config.resolved.yaml", target)
        records = [json.loads(line) for line in (folder / "whole" / "metrics.jsonl").read_text().splitlines()]
        later = [json.dumps(record) for record in records if record["step"] > 2 and not record.get("eval")]
        (target / "expected.jsonl").write_text("\n".join(later) + "\n")


if __name__ == "__main__":
    main()
