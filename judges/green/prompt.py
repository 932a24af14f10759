"""The GREEN prompt as token ids, the same that GREEN's own tokenizer call gives.

The wording, the cut at 300 words and the chat form are part of the model's input format: one other character is another
judge (green-score 0.0.12, MIT licence: `green_score.utils.make_prompt`, `green_score.GREEN`). The chat form holds an
empty answer of the assistant beside the generation prompt, and the tokenizer puts `<s>` before and `</s>` behind it.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from judges.errors import ConfigError
from judges.green.overlong import GREEN_WORDS
from judges.text import without_surrogates

MAX_TOKENS = 2048  # prompt and answer together, upstream's `max_length`


@cache
def _template() -> str:
    return (Path(__file__).parent / "prompt.txt").read_text(encoding="utf-8")


def render(reference: str, candidate: str) -> str:
    """GREEN's prompt for a pair of reports, each cut to its first 300 whitespace words."""
    before, between, after = _template().split("{report}")
    return f"{before}{_cut(reference)}{between}{_cut(candidate)}{after}"


def _cut(report: str) -> str:
    return " ".join(report.split()[:GREEN_WORDS])


class PromptTokenizer:
    """Pairs of reports -> prompt token ids, by the tokenizer of a GREEN checkpoint (folder, or name on the hub).

    Reads `tokenizer.json` as it is written, as the transformers 4.40 that GREEN pins did. transformers 5 rebuilds
    LLaMA tokenizers from their vocabulary and drops the file's normalizer, which can change ids beside `</s>`.
    """

    def __init__(self, model: str, revision: str | None = None) -> None:
        self._tokenizer = Tokenizer.from_file(str(_file(model, revision, "tokenizer.json")))
        settings = json.loads(_file(model, revision, "tokenizer_config.json").read_text(encoding="utf-8"))
        self.eos = _token(settings.get("eos_token"), "</s>")
        bos = _token(settings.get("bos_token"), "<s>") if settings.get("add_bos_token", True) else ""
        marks = [token for token in (bos, self.eos) if token]
        found = {token: self._tokenizer.token_to_id(token) for token in marks}
        ids = {token: number for token, number in found.items() if number is not None}
        if len(ids) < len(marks):
            raise ConfigError(
                f"green: the tokenizer of {model!r} lacks the tokens {sorted(set(marks) - set(ids))} that its "
                "tokenizer_config.json names; expected a LLaMA-like GREEN checkpoint."
            )
        self.eos_id: int = ids[self.eos]
        self._tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A {self.eos}".strip(), special_tokens=list(ids.items())
        )
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def chat(self, prompt: str) -> str:
        """The prompt in GREEN's chat form."""
        return f"<|user|>\n{prompt}{self.eos}\n<|assistant|>\n{self.eos}\n<|assistant|>\n"

    def ids(self, reference: str, candidate: str) -> list[int]:
        """Token ids of the whole prompt, (prompt tokens,). Lone surrogates are read as U+FFFD."""
        prompt = render(without_surrogates(reference), without_surrogates(candidate))
        return self._tokenizer.encode(self.chat(prompt)).ids


def _token(entry: Any, default: str) -> str:
    """A special token as tokenizer_config.json writes it: a string, or an object with its `content`."""
    return str(entry["content"] if isinstance(entry, dict) else entry or default)


def _file(model: str, revision: str | None, name: str) -> Path:
    """A file of the checkpoint, from its folder or from the hub's cache (downloaded if it is not there yet)."""
    folder = Path(os.path.expanduser(model))
    if folder.is_dir():
        path = folder / name
        if path.is_file():
            return path
        raise ConfigError(f"green: {folder} holds no {name}; expected the folder of a GREEN checkpoint, tokenizer too.")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as problem:
        raise ConfigError(
            f"green: {name} of model {model!r} (revision {revision or 'main'}) could not be had: "
            f"{type(problem).__name__}. Expected a folder, or a name on the hub; offline, give a folder."
        ) from None


def model_identity(model: str, revision: str | None = None) -> str:
    """What tells this checkpoint from others of its name: the hub's commit, or a folder's files and their times."""
    folder = Path(os.path.expanduser(model))
    if not folder.is_dir():
        return f"{model}@{_file(model, revision, 'tokenizer.json').parent.name}"
    files = [path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin", ".model")]
    stats = sorted((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return f"{folder.resolve()}@{hashlib.sha256(repr(stats).encode()).hexdigest()[:16]}"
