"""Makes the two policies that the package ships: `online-rl demo make-policy`.

They learn from a world with a seed of its own: no study of the demo's world, not even of its training split, has been
seen by them. The same machine, threads and versions give the same bytes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from online_rl.config.data import CHEXALIGN_PROMPT
from online_rl.data.prompt import render_prompt
from online_rl.data.study import Study
from online_rl.demo import shipped
from online_rl.demo.habit import with_comparison, with_omissions
from online_rl.demo.lessons import NAMES, draw_lessons
from online_rl.demo.policy import IMAGE_TOKENS, make_model, make_processor
from online_rl.demo.teaching import Lessons, Stage, learn_to_see, learn_to_write
from online_rl.demo.warm_start import Progress, Row, caption, label_classes
from online_rl.demo.world import plan_patients

STUDIES, SEED = 8000, 1  # the demo's world has seed 0
SEE = Stage("seeing", epochs=14, batch=16, rate=1e-3)
NAME = Stage("captions", epochs=2, batch=8, rate=1e-3)
WRITE = Stage("reports", epochs=3, batch=8, rate=1e-3)
HABITS = Stage("habits", epochs=1, batch=8, rate=5e-4)
HABIT_LAYERS = (2, 3)  # of the language model: all that the start with habits does not share


@dataclass(frozen=True)
class Course:
    """The studies in the forms that the stages read."""

    processor: Any
    lessons: Lessons
    captions: list[Row]
    reports: list[Row]
    habits: list[Row]


def make_policies(
    folder: Path,
    studies: int = STUDIES,
    seed: int = SEED,
    workers: int = 1,
    progress: Progress = lambda stage, step, steps, loss: None,
) -> None:
    """Write both policies under `folder` in the form that the package ships; `workers` processes draw.

    progress  called with (stage, step, steps, loss)
    """
    course = prepare_course(studies, seed, workers, progress)
    model = make_model(course.processor, seed)
    learn_to_see(model, course.lessons, SEE, seed, progress)
    films, language = course.lessons.films, language_of(model)
    learn_to_write(model, films, course.captions, NAME, language, seed, progress)
    learn_to_write(model, films, course.reports, WRITE, language, seed, progress)
    shipped.write_base(folder, model, course.processor, {"studies": studies, "seed": seed, "prompt": CHEXALIGN_PROMPT})
    learn_to_write(model, films, course.habits, HABITS, habit_parameters(model), seed, progress)
    shipped.write_habits(folder, model)


def make_and_report(
    folder: Path, workers: int, threads: int, echo: Callable[[str], object], studies: int = STUDIES
) -> None:
    """Make both policies, with a line every few hundred steps and the files' hashes at the end."""
    torch.set_num_threads(threads)
    start, usual = time.monotonic(), [0.0]

    def progress(stage: str, step: int, steps: int, loss: float) -> None:
        usual[0] = loss if step == 1 else 0.98 * usual[0] + 0.02 * loss
        if step % 250 == 0 or step == steps:
            echo(f"{time.monotonic() - start:6.0f} s  {stage} {step}/{steps}  loss {usual[0]:.3f}")

    make_policies(folder, studies, workers=workers, progress=progress)
    for file in (shipped.BASE, shipped.HABITS):
        data = (folder / file).read_bytes()
        echo(f"{file}: {len(data) / 1e6:.2f} MB, SHA-256 {hashlib.sha256(data).hexdigest()}")


def language_of(model) -> list[torch.nn.Parameter]:
    """The connector, the language model and its head."""
    return [*model.model.connector.parameters(), *model.model.text_model.parameters(), *model.lm_head.parameters()]


def habit_parameters(model) -> list[torch.nn.Parameter]:
    """The part of the start with habits that the policy without them does not share."""
    return [parameter for layer in HABIT_LAYERS for parameter in model.model.text_model.layers[layer].parameters()]


def prepare_course(studies: int, seed: int, workers: int, progress: Progress) -> Course:
    """Draw the studies and turn their texts into tokens."""
    plans = plan_patients(studies, seed)
    films, places = draw_lessons(plans, workers, lambda done, of: progress("drawing", done, of, 0.0))
    told = [study_of(plan.row) for plan in plans]
    named = [caption(in_order(study)) for study in told]
    prompts = [render_prompt(CHEXALIGN_PROMPT, study.indication) for study in told]
    with_habits = [with_comparison(with_omissions(study)) for study in told]
    texts = [*(study.reference for study in (*told, *with_habits)), *named]
    processor = make_processor([*(" " + text for text in texts), *prompts])
    classes = sorted({name for study in told for name in label_classes(study)})
    labels = torch.tensor([[float(name in label_classes(study)) for name in classes] for study in told])
    heads = [head_of(processor, prompt) for prompt in prompts]
    image_only = head_of(processor, prompts[0])
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    image_only = image_only[: len(image_only) - image_only[::-1].index(image) + 1]  # and the token after the image
    return Course(
        processor,
        Lessons(torch.from_numpy(films), torch.from_numpy(places), labels),
        captions=_rows(processor, [image_only] * studies, named),
        reports=_rows(processor, heads, [study.reference for study in told]),
        habits=_rows(processor, heads, [study.reference for study in with_habits]),
    )


def study_of(row: dict) -> Study:
    """A planned row as a study without its image."""
    return Study(
        row["study_id"], row["patient_id"], (), row["indication"], row["findings"], columns={"labels": row["labels"]}
    )


def in_order(study: Study) -> Study:
    """The study with its labels always in the same order: a caption should leave nothing to chance."""
    labels = sorted(study.columns["labels"], key=lambda label: NAMES.index(label["name"]))
    return replace(study, columns={"labels": labels})


def head_of(processor, prompt: str) -> tuple[int, ...]:
    """Token ids of the rendered prompt with its image tokens, as `PromptBuilder` makes them."""
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    image = f"<fake_token_around_image><global-img>{'<image>' * IMAGE_TOKENS}<fake_token_around_image>"
    return tuple(processor.tokenizer(text.replace("<image>", image, 1))["input_ids"])


def _rows(processor, heads: Sequence[tuple[int, ...]], texts: Sequence[str]) -> list[Row]:
    tokenizer = processor.tokenizer
    written = [[*tokenizer(" " + text.strip())["input_ids"], tokenizer.eos_token_id] for text in texts]
    return list(zip(heads, written, strict=True))
