"""What the shipped demo policies see: their reports under the right image, another patient's, and a blank one.

    python benchmarks/demo_policies.py WORLD [--json FILE] [--policies FOLDER] [--split eval] [--reports FILE]

WORLD is a folder for the demo's world; it is drawn if it is not there: 2,700 studies, of which the first 2,400 are the
demo's own. Greedy decoding with the transformers model in single precision. Reports are read by the second reader
(`online_rl.demo.reader`) against the drawn labels; precision, recall and F1 are pooled over the split's studies among
the first 2,400. Figures per finding are of all 2,700, so that each has 25 positives. "Indication only" guesses from the
words of the indication, with weights learnt on the training studies.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import machine, write_json

from online_rl.config import config_from_dict
from online_rl.data.readers import read_studies
from online_rl.data.study import Study
from online_rl.demo import shipped
from online_rl.demo.blind import IndicationTable, with_blank_image
from online_rl.demo.lessons import NAMES
from online_rl.demo.reader import read_report
from online_rl.demo.world import write_world
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.types import Prompt
from online_rl.truth.counts import SHOWN_POSITIVES, Claims, f1_of_each, pooled
from online_rl.truth.image_check import derangements, with_images_of
from online_rl.truth.labels import label_names

STUDIES, OWN, BATCH = 2700, 2400, 48


def all_studies(world: Path) -> dict[str, list[Study]]:
    """The studies of each split, in the order of the file."""
    if not (world / "studies.jsonl").exists():
        write_world(world, STUDIES)
    found = read_studies(config_from_dict({"data": {"max_images": 1}, "eval": {"studies": None}}), demo_folder=world)
    order = {study_id: number for number, study_id in enumerate(study_ids(world))}
    splits = {"train": found.train, "eval": found.eval, "test": found.test}
    return {split: sorted(studies, key=lambda study: order[study.study_id]) for split, studies in splits.items()}


def study_ids(world: Path) -> list[str]:
    rows = (world / "studies.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(row)["study_id"] for row in rows]


def with_other_image(studies: Sequence[Study]) -> list[Study]:
    """Each study with the image of another patient, as the first exchange of `online_rl.truth.image_check`."""
    (givers,) = derangements(studies, count=1)
    return [
        with_images_of(study, studies[giver])
        for study, giver in zip(studies, givers, strict=True)
        if giver is not None  # all have one image, so that none is left out
    ]


@torch.no_grad()
def write_reports(model, builder: PromptBuilder, studies: Sequence[Study]) -> list[str]:
    """Greedy reports, in batches padded on the left."""
    tokenizer = builder.processor.tokenizer
    reports: list[str] = []
    for start in range(0, len(studies), BATCH):
        prompts: list[Prompt] = [builder.build(study) for study in studies[start : start + BATCH]]
        length = max(len(prompt.ids) for prompt in prompts)
        ids = torch.full((len(prompts), length), tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt.ids) :] = torch.tensor(prompt.ids)
            mask[row, length - len(prompt.ids) :] = 1
        images = {key: torch.cat([prompt.inputs[key] for prompt in prompts]) for key in prompts[0].inputs}
        written = model.generate(
            input_ids=ids, attention_mask=mask, **images, max_new_tokens=128, do_sample=False, use_cache=True
        )
        reports += [text.strip() for text in tokenizer.batch_decode(written[:, length:], skip_special_tokens=True)]
    return reports


def scores(said: Sequence[frozenset[str]], studies: Sequence[Study], own: int) -> dict[str, Any]:
    """Pooled figures over the first `own` studies, F1 per finding over all."""
    claims = [Claims(one, label_names(study.columns) or frozenset()) for one, study in zip(said, studies, strict=True)]
    return pooled(claims[:own]) | {"per_finding": f1_of_each(claims, SHOWN_POSITIVES)}


def score_reports(reports: list[str], studies: Sequence[Study], own: int) -> dict[str, Any]:
    readings = [read_report(text) for text in reports]
    sentences = sum(reading.sentences for reading in readings[:own])
    return scores([reading.present for reading in readings], studies, own) | {
        "distinct": len(set(reports[:own])),
        "comparing": sum(reading.comparisons > 0 for reading in readings[:own]) / own,
        "unknown_sentences": sum(len(reading.unknown) for reading in readings[:own]) / sentences,
        "words": sum(len(text.split()) for text in reports[:own]) / own,
    }


def load(name: str, source: Path):
    """The policy in single precision, and what renders its prompts."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    with tempfile.TemporaryDirectory() as folder:
        shipped.unpack(name, Path(folder) / "policy", source)
        model = AutoModelForImageTextToText.from_pretrained(Path(folder) / "policy", dtype=torch.float32).eval()
        processor = AutoProcessor.from_pretrained(Path(folder) / "policy")
    return model, PromptBuilder(processor, config_from_dict({"data": {"max_images": 1}}))


def measure(world: Path, source: Path, split: str, kept: dict[str, list[str]]) -> dict[str, Any]:
    """Every row of the table. `kept` receives the reports."""
    found = all_studies(world)
    studies = found[split]
    own = len({study.study_id for study in studies} & set(study_ids(world)[:OWN]))  # they come first
    shown: dict[str, Callable[[Sequence[Study]], list[Study]]] = {
        "right": list,
        "another patient's": with_other_image,
        "blank": lambda some: [with_blank_image(study) for study in some],
    }
    table = IndicationTable.learn(found["train"])
    rows = {
        "indication only": scores([table(study.indication) for study in studies], studies, own),
        "indication only, above one half": scores(
            [replace(table, threshold=0.5)(study.indication) for study in studies], studies, own
        ),
    }
    kept["studies"] = [study.study_id for study in studies]
    kept["references"] = [study.reference for study in studies]
    for name in shipped.NAMES[::-1]:
        model, builder = load(name, source)
        for image, change in shown.items():
            reports = kept[f"{name}, {image}"] = write_reports(model, builder, change(studies))
            rows[f"{name}, {image} image"] = score_reports(reports, studies, own)
    return {"split": split, "studies": own, "per_finding_studies": len(studies), "rows": rows}


def as_markdown(result: dict) -> str:
    text = io.StringIO()
    print(
        f"{result['studies']} studies of the split {result['split']}; per finding {result['per_finding_studies']}.\n",
        file=text,
    )
    names = ("precision", "recall", "f1", "silent_on_abnormal", "distinct", "comparing", "unknown_sentences", "words")
    print("| policy, image | " + " | ".join(name.replace("_", " ") for name in names) + " |", file=text)
    print("|---" * (len(names) + 1) + "|", file=text)
    for row, figures in result["rows"].items():
        print(f"| {row} | " + " | ".join(_figure(figures.get(name)) for name in names) + " |", file=text)
    print("\nF1 per finding:\n", file=text)
    print("| policy, image | " + " | ".join(name.replace("_", " ") for name in NAMES) + " |", file=text)
    print("|---" * (len(NAMES) + 1) + "|", file=text)
    for row, figures in result["rows"].items():
        print(f"| {row} | " + " | ".join(_figure(figures["per_finding"].get(name)) for name in NAMES) + " |", file=text)
    return text.getvalue()


def _figure(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3f}" if value < 2 else f"{value:.1f}"
    return "-" if value is None else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--policies", type=Path, default=shipped.FOLDER)
    parser.add_argument("--split", default="eval", choices=("eval", "test"))
    parser.add_argument("--reports", type=Path, help="keep the reports here, as JSON")
    args = parser.parse_args()
    start, kept = time.monotonic(), {}
    result = measure(args.world, args.policies, args.split, kept)
    command = f"python benchmarks/demo_policies.py {args.world.name}"
    result |= {"machine": machine(), "command": command, "seconds": round(time.monotonic() - start)}
    print(as_markdown(result))
    print(f"{result['machine']}, {result['seconds']} s: {result['command']}")
    write_json(result, args.json)
    if args.reports:
        args.reports.write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
