"""Teaches the shipped demo policy: first to see, then to name what it sees, then to write reports.

Seeing comes first and alone because it is cheap: the vision encoder reads 64 patches, the language side a hundred
tokens. It learns from maps of where each finding shows: they teach far more per film than "an effusion, somewhere".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from online_rl.demo.warm_start import Progress, Row, encode, next_token_loss

PATCH_WEIGHT, FILM_WEIGHT = 5.0, 0.3


@dataclass(frozen=True)
class Stage:
    """How long and how fast one stage trains; `batch` studies per step, rate falling to zero as a cosine."""

    name: str
    epochs: int
    batch: int
    rate: float


@dataclass(frozen=True)
class Lessons:
    """Drawn studies as tensors.

    films   (S, side, side) uint8
    places  (S, patches, names) uint8, 255 where the finding shows fully
    labels  (S, classes) 1.0 where the study shows it, as `warm_start.label_classes` names them
    """

    films: Tensor
    places: Tensor
    labels: Tensor


class SightHead(nn.Module):
    """Reads each patch, and the film as a whole; used while the encoder learns to see, then thrown away."""

    def __init__(self, hidden: int, names: int, classes: int) -> None:
        super().__init__()
        self.patch = nn.Linear(hidden, names)
        self.film = nn.Linear(hidden, classes)
        nn.init.constant_(self.patch.bias, -4.0)
        nn.init.constant_(self.film.bias, -3.0)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(B, patches, hidden) -> logits (B, patches, names), and (B, classes) as a soft maximum over patches."""
        film = torch.logsumexp(self.film(hidden), 1) - math.log(hidden.shape[1])
        return self.patch(hidden), film


def learn_to_see(model: nn.Module, lessons: Lessons, stage: Stage, seed: int, progress: Progress) -> None:
    """Train the vision encoder in place to tell which findings show, and in which patches."""
    torch.manual_seed(seed)
    names, classes = lessons.places.shape[2], lessons.labels.shape[1]
    head = SightHead(model.config.vision_config.hidden_size, names, classes)
    # Rare ones weigh more, so that they are learnt too.
    in_patches = (lessons.places.float() / 255).mean((0, 1)).clamp(min=0.002).rsqrt().clamp(max=10)  # (names,)
    in_films = lessons.labels.mean(0).clamp(min=0.005).rsqrt().clamp(max=6)  # (classes,)
    cross_entropy = nn.functional.binary_cross_entropy_with_logits

    def loss(chosen: Tensor) -> Tensor:
        patches, film = head(encode(model, varied(lessons.films[chosen])))
        places = lessons.places[chosen].float() / 255
        seen = cross_entropy(patches, places, pos_weight=in_patches)
        return PATCH_WEIGHT * seen + FILM_WEIGHT * cross_entropy(film, lessons.labels[chosen], pos_weight=in_films)

    parameters = [*model.model.vision_model.parameters(), *head.parameters()]
    train(stage, loss, parameters, len(lessons.films), progress)


def learn_to_write(
    model: nn.Module,
    films: Tensor,
    rows: Sequence[Row],
    stage: Stage,
    parameters: Sequence[nn.Parameter],
    seed: int,
    progress: Progress,
) -> None:
    """Train `parameters` in place to write the rows' texts under their films (S, side, side). Sight stays as it is."""
    torch.manual_seed(seed)
    chosen_parameters = {id(parameter) for parameter in parameters}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in chosen_parameters)

    def loss(chosen: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = encode(model, varied(films[chosen]))
        return next_token_loss(model, hidden, [rows[i] for i in chosen.tolist()])

    train(stage, loss, list(parameters), len(films), progress)
    model.requires_grad_(True)


def varied(films: Tensor) -> Tensor:
    """(B, side, side) uint8 -> (B, 3, side, side) as the processor gives them, but for shift, contrast and brightness.

    Never mirrored: left and right are part of the report.
    """
    dy, dx = torch.randint(-2, 3, (2,)).tolist()
    pixels = torch.roll(films.float() / 127.5 - 1.0, (dy, dx), (1, 2))[:, None].expand(-1, 3, -1, -1)
    contrast, brightness = torch.randn(2, len(films), 1, 1, 1)
    return pixels * (1 + 0.1 * contrast) + 0.05 * brightness


def train(
    stage: Stage, loss_of: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], studies: int, progress: Progress
) -> None:
    """AdamW over shuffled epochs: 100 steps of warm-up, then a cosine to zero."""
    batch = min(stage.batch, studies)
    steps = stage.epochs * (studies // batch)
    optimizer = torch.optim.AdamW(parameters, lr=stage.rate, weight_decay=0.05)
    for step, chosen in enumerate(_batches(studies, batch, stage.epochs), start=1):
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * min(1.0, step / 100) * 0.5 * (1.0 + math.cos(math.pi * step / steps))
        loss = loss_of(chosen)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        progress(stage.name, step, steps, float(loss.detach()))


def _batches(studies: int, batch: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        order = torch.randperm(studies)
        for i in range(0, studies - batch + 1, batch):
            yield order[i : i + batch]
