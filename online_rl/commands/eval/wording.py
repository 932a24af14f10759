"""BLEU and ROUGE-L of a report against its reference, by sacrebleu and rouge-score.

BLEU is a figure of the corpus: n-gram counts are summed over studies, then divided. What is kept of a study are its ten
counts, which hold no text, so that the corpus figure, its interval and a paired test all come from the same rows.

    BLEU-4  sacrebleu's defaults (13a tokens, "exp" smoothing) on lower-cased text, divided by 100
    ROUGE-L mean over studies of rouge-score's F measure, without stemming
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

ORDER = 4
SMOOTHING = "exp"
MISSING = "{} is not installed (pip install sacrebleu rouge-score)"


def bleu_counts(candidate: str, reference: str) -> list[float] | None:
    """Matching n-grams (4), candidate n-grams (4), candidate tokens, reference tokens. None without sacrebleu."""
    bleu = _bleu()
    if bleu is None:
        return None
    found = bleu.sentence_score(candidate, [reference])
    return [float(n) for n in (*found.counts, *found.totals, found.sys_len, found.ref_len)]


def rouge_l(candidate: str, reference: str) -> float | None:
    """F measure of the longest common subsequence of words, 0 to 1. None without rouge-score."""
    scorer = _rouge()
    return None if scorer is None else float(scorer.score(reference, candidate)["rougeL"].fmeasure)


def corpus_bleu(sums: Any, order: int = ORDER) -> Any:
    """Sums (..., 10) as of `bleu_counts` -> BLEU-`order` (...), 0 to 1; nan without a candidate token.

    The formula is sacrebleu's own, called once per row.
    """
    from sacrebleu.metrics import BLEU

    def one(row: Sequence[float]) -> float:
        if row[8] == 0:
            return float("nan")
        counts, totals = ([int(n) for n in row[start : start + order]] for start in (0, ORDER))
        lengths = int(row[8]), int(row[9])
        return float(BLEU.compute_bleu(counts, totals, *lengths, SMOOTHING, max_ngram_order=order).score) / 100

    table = np.rint(np.asarray(sums, dtype=np.float64))
    flat = [one(row) for row in table.reshape(-1, table.shape[-1]).tolist()]
    return np.array(flat).reshape(table.shape[:-1])


def missing_packages() -> set[str]:
    """Those of sacrebleu and rouge-score that are not installed."""
    return {name for name, made in (("sacrebleu", _bleu()), ("rouge-score", _rouge())) if made is None}


def signature() -> str:
    """How BLEU was computed, in sacrebleu's words; why not, if it is not there."""
    bleu = _bleu()
    if bleu is None:
        return MISSING.format("sacrebleu")
    from sacrebleu import __version__

    return f"sacrebleu {__version__}, case:lc, tok:{bleu.tokenizer.signature()}, smooth:{SMOOTHING}"


@functools.cache
def _bleu() -> Any:
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        return None
    return BLEU(lowercase=True, effective_order=True)  # silences a warning about single sentences; counts are the same


@functools.cache
def _rouge() -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        return None
    return RougeScorer(["rougeL"], use_stemmer=False)
