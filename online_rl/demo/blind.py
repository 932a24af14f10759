"""What can be told without looking: the findings guessed from the indication alone, and the blank image.

A policy sees only as far as it beats both. The guess is a table of weights, one per word and finding, learnt from the
training studies' indications and labels.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from online_rl.data.study import Study
from online_rl.truth.labels import label_names

BLANK_GREY = 128  # the middle of the grey scale: zero after the policy's normalisation
PENALTY = 1e-3  # on the squared weights; keeps rare words from being learnt by heart
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class IndicationTable:
    """Guesses findings from an indication.

    words      column of each word in `weights`
    names      finding of each row
    weights    (F, W + 1) log-odds, the last column the finding's own
    threshold  chance above which a finding is called present: the one with the best pooled F1 on the training studies
    """

    words: dict[str, int]
    names: tuple[str, ...]
    weights: Tensor
    threshold: float

    def __call__(self, indication: str) -> frozenset[str]:
        chance = torch.sigmoid(self.weights @ _row(indication, self.words))
        return frozenset(name for name, p in zip(self.names, chance.tolist(), strict=True) if p > self.threshold)

    @classmethod
    def learn(cls, studies: Sequence[Study]) -> IndicationTable:
        """Logistic regression per finding. The same studies give the same table."""
        seen = {word: None for study in studies for word in _words(study.indication)}
        words = {word: column for column, word in enumerate(seen)}
        present = [label_names(study.columns) or frozenset() for study in studies]
        names = tuple(sorted(frozenset().union(*present)))
        rows = torch.stack([_row(study.indication, words) for study in studies])  # (S, W + 1)
        labels = torch.tensor([[float(name in there) for name in names] for there in present])
        weights = _fit(rows, labels)
        return cls(words, names, weights, _best_threshold(torch.sigmoid(rows @ weights.T), labels))


def with_blank_image(study: Study) -> Study:
    """The study with each of its images replaced by one of a uniform grey."""
    return replace(study, images=tuple(blank_image() for _ in study.images))


def blank_image() -> bytes:
    """A PNG of 256 x 256 pixels, all of them BLANK_GREY."""
    file = io.BytesIO()
    Image.new("L", (256, 256), BLANK_GREY).save(file, "PNG")
    return file.getvalue()


def _words(indication: str) -> list[str]:
    """The words without numbers."""
    return _WORD.findall(indication.lower())


def _row(indication: str, words: dict[str, int]) -> Tensor:
    row = torch.zeros(len(words) + 1)
    row[[words[word] for word in _words(indication) if word in words]] = 1.0
    row[-1] = 1.0
    return row


def _fit(rows: Tensor, labels: Tensor) -> Tensor:
    weights = torch.zeros(labels.shape[1], rows.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        wrong = torch.nn.functional.binary_cross_entropy_with_logits(rows @ weights.T, labels)
        total = wrong + PENALTY * weights[:, :-1].square().sum() / labels.shape[1]
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach()


def _best_threshold(chance: Tensor, labels: Tensor) -> float:
    """The chance (of those given) above which calling every finding present gives the best pooled F1."""
    order = chance.flatten().argsort(descending=True)
    right = labels.flatten()[order].cumsum(0)  # right if the first k are called present
    called = torch.arange(1, len(order) + 1)
    best = int((2 * right / (called + labels.sum())).argmax())
    following = order[min(best + 1, len(order) - 1)]
    return float((chance.flatten()[order[best]] + chance.flatten()[following]) / 2)
