"""The metrics of RadEval that can be judges: their value, the weights they need, and whether less of them is better."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from judges.errors import JudgeError


@dataclass(frozen=True)
class AnyOf:
    """A file that goes by one of several names."""

    kind: str
    names: tuple[str, ...]


MODEL = AnyOf("model", ("model.safetensors", "pytorch_model.bin"))
TOKENIZER = AnyOf("tokenizer", ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model"))


@dataclass(frozen=True)
class Need:
    """Files that a metric reads.

    repo   name on the hub
    files  names in it
    cache  "hub": the hub's cache; otherwise the folder of that name in the user's cache, which RadEval uses instead
    """

    repo: str
    files: tuple[str | AnyOf, ...]
    cache: str = "hub"


@dataclass(frozen=True)
class Metric:
    """key             what RadEval calls the number that is the judge's value
    needs           files of weights and tokenizers
    radgraph        the RadGraph model that it uses, which names an encoder of its own
    less_is_better  it is a distance
    """

    key: str
    needs: tuple[Need, ...] = ()
    radgraph: str = ""
    less_is_better: bool = False


def _whole(repo: str) -> Need:
    return Need(repo, ("config.json", MODEL, TOKENIZER))


_CHEXBERT = (
    Need("bert-base-uncased", ("config.json", TOKENIZER)),
    Need("StanfordAIMI/RRG_scorers", ("chexbert.pth",), "chexbert"),
)

METRICS: dict[str, Metric] = {
    "bleu": Metric("bleu"),
    "rouge": Metric("rougeL"),
    "bertscore": Metric("bertscore", (_whole("distilbert-base-uncased"),)),
    "radeval_bertscore": Metric("radeval_bertscore", (_whole("IAMJB/RadEvalModernBERT"),)),
    "f1chexbert": Metric("f1chexbert_sample_acc_5", _CHEXBERT),
    "sembscore": Metric("sembscore", _CHEXBERT),
    "radgraph": Metric("radgraph_partial", radgraph="radgraph-xl"),
    "radcliq": Metric(
        "radcliq_v1", (*_CHEXBERT, _whole("distilroberta-base")), radgraph="radgraph", less_is_better=True
    ),
    "ratescore": Metric("ratescore", (_whole("Angelakeke/RaTE-NER-Deberta"), _whole("FremyCompany/BioLORD-2023-C"))),
    "srrbert": Metric(
        "srrbert_weighted_f1",
        (
            Need("StanfordAIMI/SRR-BERT-Leaves-with-Statuses", ("config.json", MODEL)),
            Need("microsoft/BiomedVLP-CXR-BERT-general", (TOKENIZER,)),
            Need("punkt_tab", ("english",), "nltk"),
        ),
    ),
}


def metric_named(name: str) -> Metric:
    """The metric of that name. Raises JudgeError with the nearest one."""
    if name in METRICS:
        return METRICS[name]
    near = difflib.get_close_matches(name, METRICS, 1)
    raise JudgeError(
        f"judge radeval: metric {name!r} is not known; expected one of {', '.join(METRICS)}."
        + (f" Did you mean {near[0]!r}?" if near else "")
    )
