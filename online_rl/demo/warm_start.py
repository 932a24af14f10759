"""Warm start of the demo policy: ordinary supervised fine-tuning on the training reports, in minutes on two cores.

Two stages, as large vision-language models are made. First the model learns to see: the vision encoder tells which
findings an image shows (multi-label cross-entropy), and the language side names them in a caption. Then all of it
learns to write the reports.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from online_rl.data.study import Study
from online_rl.demo.policy import IMAGE_SIDE, PATCH
from online_rl.rollout.types import Prompt

BATCH = 8  # small: at this size many steps teach more than clean gradients do
SEEING_EPOCHS, REPORT_EPOCHS = 4, 3
RATE = 1e-3
MOST_THREADS = 8
Row = tuple[tuple[int, ...], list[int]]
Progress = Callable[[str, int, int, float], None]  # stage, step, steps, loss


@dataclass
class Examples:
    """The training studies as tensors: S studies, F label classes.

    pixels   (S, 3, side, side)
    labels   (S, F) 1.0 where the study shows the finding
    captions  per study (ids up to the image's end, ids of the findings' names with the end token)
    reports   per study (prompt ids, report ids with the end token)
    """

    pixels: Tensor
    labels: Tensor
    captions: list[Row]
    reports: list[Row]


def make_examples(prompts: Sequence[Prompt], tokenizer) -> Examples:
    """Tensors of all training studies, from prompts rendered exactly as sampling will render them."""
    pixels = torch.cat([p.inputs["pixel_values"][0] for p in prompts])
    classes = sorted({c for p in prompts for c in label_classes(p.study)})
    labels = torch.tensor([[float(c in label_classes(p.study)) for c in classes] for p in prompts])
    image = tokenizer.convert_tokens_to_ids("<image>")

    def row(prompt: tuple[int, ...], text: str) -> Row:
        return prompt, [*tokenizer(" " + text)["input_ids"], tokenizer.eos_token_id]

    reports = [row(p.ids, p.study.reference.strip()) for p in prompts]
    captions = [row(p.ids[: len(p.ids) - p.ids[::-1].index(image) + 1], caption(p.study)) for p in prompts]
    return Examples(pixels, labels, captions, reports)


def caption(study: Study) -> str:
    """The findings by name, such as "small left effusion. mild right lower consolidation."."""
    words = ("severity", "side", "zone", "name")
    named = [" ".join(str(f[w]) for w in words if f.get(w)) for f in study.columns.get("labels", [])]
    return " ".join(f"{name.replace('_', ' ')}." for name in named) or "normal."


def label_classes(study: Study) -> set[str]:
    """Names such as "effusion/left", "effusion/left/small", "nodule/right/upper" of what the image shows."""
    classes = set()
    for finding in study.columns.get("labels", []):
        sides = ("left", "right") if finding.get("side") == "bilateral" else (finding.get("side", "none"),)
        for side in sides:
            base = f"{finding['name']}/{side}"
            classes.add(base)
            classes |= {f"{base}/{finding[key]}" for key in ("severity", "zone") if finding.get(key)}
    return classes


def warm_up_threads() -> int:
    """Cores that the warm-up uses: a policy this small gains nothing from more than eight."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)


def warm_start(model: nn.Module, examples: Examples, seed: int, seconds: float | None, progress: Progress) -> None:
    """Train `model` in place. `seconds` bounds the time; without it the result depends on seed and data alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(warm_up_threads())
    torch.manual_seed(seed)
    deadline = time.monotonic() + seconds if seconds else math.inf
    head = LabelHead(model.config.vision_config.hidden_size, max(1, examples.labels.shape[1]))
    rarity = examples.labels.mean(0).clamp(min=0.005).rsqrt()  # (F,) so that rare findings are learnt too

    def label_loss(hidden: Tensor, chosen: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(head(hidden), examples.labels[chosen], pos_weight=rarity)

    def loss_on(rows: list[Row]) -> Callable[[Tensor], Tensor]:
        def loss(chosen: Tensor) -> Tensor:
            hidden = encode(model, augmented(examples.pixels[chosen]))
            written = next_token_loss(model, hidden, [rows[i] for i in chosen.tolist()])
            return written + (label_loss(hidden, chosen) if has_labels else 0.0)

        return loss

    has_labels = bool(examples.labels.shape[1])
    parameters = [*model.parameters(), *head.parameters()]
    half = time.monotonic() + seconds / 2 if seconds else math.inf
    studies = len(examples.reports)
    if has_labels:
        _train("seeing", loss_on(examples.captions), parameters, studies, SEEING_EPOCHS, half, progress)
    _train("reports", loss_on(examples.reports), parameters, studies, REPORT_EPOCHS, deadline, progress)
    torch.set_num_threads(threads)


class LabelHead(nn.Module):
    """Reads the findings off all patches in their places: a pooled image forgets which side it saw them on."""

    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(hidden, 32)
        self.read = nn.Linear(32 * (IMAGE_SIDE // PATCH) ** 2, classes)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, patches, hidden) -> logits (B, classes)."""
        patches = nn.functional.dropout(self.narrow(hidden).flatten(1), 0.2, self.training)
        return self.read(patches)


def encode(model: nn.Module, pixels: Tensor) -> Tensor:
    """(B, 3, side, side) -> hidden states of the vision encoder (B, patches, hidden)."""
    side = IMAGE_SIDE // PATCH
    mask = torch.ones(len(pixels), side, side, dtype=torch.bool)
    return model.model.vision_model(pixel_values=pixels, patch_attention_mask=mask).last_hidden_state


def augmented(pixels: Tensor) -> Tensor:
    """Small shifts, contrast and brightness. Never mirrored: left and right are part of the report."""
    dy, dx = torch.randint(-4, 5, (2,)).tolist()
    shifted = torch.roll(pixels, (dy, dx), (2, 3))
    contrast, brightness = torch.randn(2, len(pixels), 1, 1, 1)
    return shifted * (1 + 0.1 * contrast) + 0.05 * brightness


def next_token_loss(model: nn.Module, hidden: Tensor, rows: list[Row]) -> Tensor:
    """Mean cross-entropy of the report tokens, given image and prompt."""
    length = max(len(p) + len(r) for p, r in rows)
    ids = torch.full((len(rows), length), model.config.pad_token_id)
    attention = torch.zeros((len(rows), length), dtype=torch.long)
    predicts = torch.zeros((len(rows), length), dtype=torch.bool)
    for b, (prompt, report) in enumerate(rows):
        end = len(prompt) + len(report)
        ids[b, :end] = torch.tensor([*prompt, *report])
        attention[b, :end] = 1
        predicts[b, len(prompt) - 1 : end - 1] = True
    inner = model.model
    embedded = inner.text_model.embed_tokens(ids)  # (B, L, D)
    images = inner.connector(hidden).to(embedded.dtype)  # (B, image tokens, D)
    embedded = embedded.masked_scatter((ids == model.config.image_token_id)[..., None], images)
    states = inner.text_model(inputs_embeds=embedded, attention_mask=attention, use_cache=False).last_hidden_state
    targets = ids.roll(-1, dims=1)[predicts]
    return nn.functional.cross_entropy(model.lm_head(states[predicts]), targets)


def _train(
    stage: str,
    loss_of: Callable[[Tensor], Tensor],
    parameters: list[nn.Parameter],
    studies: int,
    epochs: int,
    deadline: float,
    progress: Progress,
) -> None:
    """AdamW over shuffled epochs, 40 steps of warm-up, then cosine to zero (by steps, or by time under a deadline)."""
    batch = min(BATCH, studies)
    steps = epochs * (studies // batch)
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    start = time.monotonic()
    for step, chosen in enumerate(_batches(studies, batch, epochs), start=1):
        spent = (time.monotonic() - start) / (deadline - start) if math.isfinite(deadline) else 0.0
        done = max(step / steps, spent)
        if done > 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, step / 40) * 0.5 * (1.0 + math.cos(math.pi * done))
        loss = loss_of(chosen)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        progress(stage, step, steps, float(loss.detach()))


def _batches(studies: int, batch: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        order = torch.randperm(studies)
        for i in range(0, studies - batch + 1, batch):
            yield order[i : i + batch]
