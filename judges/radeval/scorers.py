"""RadEval's scorers, made once and asked for batches of pairs: one number per pair under each of RadEval's own keys.

Most are RadEval's adapters as they are. Made here are those that do more than a judge wants or less:

    f1chexbert  on a CPU its adapter fails, and it gives no labels; labels are read once, and agreement counted
    sembscore   has no adapter; the cosine of CheXbert's embeddings, as `radeval.metrics.RadCliQv1.semb_score` has it
    srrbert     its adapter asks the network for NLTK's data whenever it is made
    radcliq     weighs words by the reference reports of the call: a value would depend on what is scored beside it
    ratescore   gives 0.5 if it finds no entity in one of the reports, which `no_entity` says
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from judges.base import Labels
from judges.errors import JudgeError


@dataclass(frozen=True)
class Numbers:
    """One value per pair under each of RadEval's keys, and the labels of each pair for a metric that reads some."""

    values: dict[str, Sequence[Any]]
    labels: Sequence[Labels] | None = None


Scorer = Callable[[list[str], list[str]], Numbers]  # reference reports, candidates


def make_scorer(metric: str, references: Sequence[str] = ()) -> Scorer:
    """The scorer of a metric, with its model loaded."""
    return {
        "f1chexbert": _f1chexbert,
        "sembscore": _sembscore,
        "srrbert": _srrbert,
        "ratescore": _ratescore,
        "radcliq": lambda: _radcliq(references),
        "radgraph": _radgraph,
    }.get(metric, lambda: _adapter(metric))()


def _adapter(metric: str) -> Scorer:
    from radeval.metrics._registry import get_metric_class

    return _asked(get_metric_class(metric)())


def _asked(adapter: Any) -> Scorer:
    return lambda refs, hyps: Numbers(adapter.compute(refs=refs, hyps=hyps, per_sample=True))


def _chexbert() -> Any:
    import torch
    from radeval.metrics.f1chexbert import F1CheXbert

    # Its own default is "cuda", and without a GPU it fails before it falls back.
    return F1CheXbert(device="cuda" if torch.cuda.is_available() else "cpu")


def _f1chexbert() -> Scorer:
    chexbert = _chexbert()
    names, top = chexbert.TARGET_NAMES, chexbert.top5_idx

    def score(refs: list[str], hyps: list[str]) -> Numbers:
        pairs = list(zip(chexbert.get_labels(refs), chexbert.get_labels(hyps), strict=True))
        agree = [[int(a == b) for a, b in zip(true, said, strict=True)] for true, said in pairs]
        return Numbers(
            {
                "f1chexbert_sample_acc_5": [sum(row[i] for i in top) / len(top) for row in agree],
                "f1chexbert_sample_acc_all": [sum(row) / len(row) for row in agree],
            },
            [Labels(said=_present(said, names), true=_present(true, names)) for true, said in pairs],
        )

    return score


def _present(row: Sequence[int], names: Sequence[str]) -> frozenset[str]:
    return frozenset(name for name, flag in zip(names, row, strict=True) if flag)


def _sembscore() -> Scorer:
    import numpy as np

    chexbert = _chexbert()

    def score(refs: list[str], hyps: list[str]) -> Numbers:
        true, said = (np.vstack(chexbert.get_embeddings(texts)) for texts in (refs, hyps))  # (N, hidden)
        cosine = (true * said).sum(1) / (np.linalg.norm(true, axis=1) * np.linalg.norm(said, axis=1))
        return Numbers({"sembscore": cosine.tolist()})

    return score


def _srrbert() -> Scorer:
    import nltk
    from radeval.metrics.SRRBert.adapter import SRRBertMetric
    from radeval.metrics.SRRBert.srr_bert import SRRBert

    try:
        nltk.data.find("tokenizers/punkt_tab/english")
    except LookupError:
        nltk.download("punkt_tab", quiet=True)
    adapter = object.__new__(SRRBertMetric)
    adapter._scorer = SRRBert(model_type="leaves_with_statuses")  # as the adapter makes it
    return _asked(adapter)


def _ratescore() -> Scorer:
    from radeval.metrics.RaTEScore.scorer import RaTEScore

    scorer = RaTEScore()

    def score(refs: list[str], hyps: list[str]) -> Numbers:
        values, said, true = scorer.compute_score(candidate_list=hyps, reference_list=refs)
        # It skips a report without a sentence, after which its lists belong to other reports: the lengths tell.
        if not len(values) == len(said) == len(true) == len(refs):
            raise ValueError("a report has no sentence")
        nothing = [float(not a or not b) for a, b in zip(said, true, strict=True)]
        return Numbers({"ratescore": values, "no_entity": nothing})

    return score


def find_radgraph() -> None:
    """Let RadEval's RadGraph import itself: it calls the package `RadEval`, which is found where case is ignored."""
    import radeval

    sys.modules.setdefault("RadEval", radeval)


def _radgraph() -> Scorer:
    find_radgraph()
    return _adapter("radgraph")


def _radcliq(references: Sequence[str]) -> Scorer:
    if not references:
        raise JudgeError(
            "judge radcliq: references is missing, expected a JSONL or CSV file with the column 'reference'. Its "
            "BERTScore weighs words by how rare they are among the reference reports of the data set; with those of "
            "one call instead, a value would depend on what is scored beside it."
        )
    find_radgraph()
    from radeval.metrics.RadCliQv1.adapter import RadCliQMetric

    adapter = RadCliQMetric()
    weighted = adapter._scorer._get_bert_scorer(list(references))
    adapter._scorer._get_bert_scorer = lambda refs: weighted
    return _asked(adapter)
