"""Stand-in weights: tiny random models on disk, in the folders and under the names that RadEval asks the hub for.

The numbers mean nothing. What is tried is everything else: finding the files, loading, batching, the way to a score.
"""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] small large left right effusion pneumothorax heart lungs normal clear no is the . "
    ", edema mild a b 1 2"
)
SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
ENCODER = "stand-in/encoder"  # of RadGraph
SRR_LABELS = 163  # findings with their status
CHEXBERT_HEADS = 13  # of four classes; one of two follows


def write_standins(home: Path) -> dict[str, str]:
    """Write all stand-ins under `home`; the variables of the environment under which RadEval finds them."""
    torch.manual_seed(7)
    hub, cache = home / "huggingface" / "hub", home / "cache"
    bert = transformers.BertConfig(vocab_size=len(WORDS.split()), **SIZE)

    _tokenizer(_snapshot(hub, "bert-base-uncased"))
    bert.save_pretrained(_snapshot(hub, "bert-base-uncased"))
    state = {f"module.bert.{name}": tensor for name, tensor in transformers.BertModel(bert).state_dict().items()}
    for i in range(CHEXBERT_HEADS + 1):
        state[f"module.linear_heads.{i}.weight"] = torch.randn(4 if i < CHEXBERT_HEADS else 2, SIZE["hidden_size"])
        state[f"module.linear_heads.{i}.bias"] = torch.zeros(4 if i < CHEXBERT_HEADS else 2)
    scorers = _snapshot(cache / "chexbert", "StanfordAIMI/RRG_scorers")
    torch.save({"model_state_dict": state}, scorers / "chexbert.pth")

    distilbert = transformers.DistilBertConfig(vocab_size=bert.vocab_size, dim=32, n_layers=6, n_heads=2, hidden_dim=64)
    folder = _tokenizer(_snapshot(hub, "distilbert-base-uncased"))
    transformers.DistilBertModel(distilbert).save_pretrained(folder)

    names = ["O", "B-DISEASE", "I-DISEASE", "B-ANATOMY", "I-ANATOMY"]
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    tagger = transformers.BertConfig(vocab_size=bert.vocab_size, **SIZE, **labels)
    folder = _tokenizer(_snapshot(hub, "Angelakeke/RaTE-NER-Deberta"))
    transformers.BertForTokenClassification(tagger).save_pretrained(folder)
    folder = _tokenizer(_snapshot(hub, "FremyCompany/BioLORD-2023-C"))
    transformers.BertModel(bert).save_pretrained(folder)

    folder = _tokenizer(_snapshot(hub, ENCODER))
    transformers.BertModel(bert).save_pretrained(folder)
    folder = _tokenizer(_snapshot(hub, "distilroberta-base"))  # whatever its name says, it is loaded as what it is
    deeper = transformers.BertConfig(vocab_size=bert.vocab_size, **{**SIZE, "num_hidden_layers": 6})
    transformers.BertModel(deeper).save_pretrained(folder)

    folder = _snapshot(hub, "StanfordAIMI/SRR-BERT-Leaves-with-Statuses")
    findings = transformers.BertConfig(vocab_size=bert.vocab_size, num_labels=SRR_LABELS, **SIZE)
    transformers.BertForSequenceClassification(findings).save_pretrained(folder)
    _tokenizer(_snapshot(hub, "microsoft/BiomedVLP-CXR-BERT-general"))
    punkt = home / "nltk" / "tokenizers" / "punkt_tab" / "english"  # a splitter that knows no abbreviation
    punkt.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (punkt / name).write_text("")
    return {"HF_HOME": str(home / "huggingface"), "XDG_CACHE_HOME": str(cache), "NLTK_DATA": str(home / "nltk")}


def _snapshot(cache: Path, repo: str) -> Path:
    """The folder of a repository's files, as the hub's client lays out its cache."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    commit = "0" * 40
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True, exist_ok=True)
    return snapshot


def _tokenizer(folder: Path) -> Path:
    (folder / "vocab.txt").write_text("\n".join(WORDS.split()))
    transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=512).save_pretrained(folder)
    return folder
