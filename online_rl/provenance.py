"""What a run is trained with beside its configuration, as hashes: the judges' code, the data, the prompt.

A checkpoint keeps them, and a resume compares them: a reward that was edited, or rows that were added, would otherwise
change what is learned without a word, and the closing table would compare two different things.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from judges.base import Judge
from judges.identity import code_hashes
from online_rl.config import Config
from online_rl.data.study import Study
from online_rl.errors import CheckpointError, ConfigError

SHOWN_FILES = 3
DIGITS = 12  # of a hash in a message
ABSENT = "absent"
KEY = "provenance"  # in a checkpoint's state
ONLINE, SUPERVISED = "online", "supervised"  # what a run learns from: scores of its own reports, or reference reports


@dataclass(frozen=True)
class Provenance:
    """judges  name of a judge or guard -> source file -> SHA-256
    data    split -> part of its rows, in their order (ids, references, ...) -> SHA-256, and `studies`, their number
    prompt  SHA-256 of a rendered and tokenised prompt
    stage   ONLINE or SUPERVISED
    """

    judges: dict[str, dict[str, str]]
    data: dict[str, dict[str, Any]]
    prompt: str
    stage: str = ONLINE

    def state_dict(self) -> dict[str, Any]:
        return {KEY: asdict(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing: what this launch trains with is compared with a checkpoint, not taken from it."""


def take_provenance(
    cfg: Config,
    judges: Sequence[Judge] | None,
    train: Sequence[Study],
    evaluation: Sequence[Study],
    render: Callable[[str, int], tuple[str, Sequence[int]]],
) -> Provenance:
    """Hash what the run is about to be trained with.

    judges  those of `cfg.judges`, then those of `cfg.guards`; None for a supervised run, which asks none
    render  (indication, number of images) -> the prompt's text and token ids
    """
    entries = [] if judges is None else [*cfg.judges, *cfg.guards]
    code = {entry.label: code_hashes(judge, entry.use) for judge, entry in zip(judges or (), entries, strict=True)}
    prompts = [render("chest pain", images) for images in range(1, cfg.data.max_images + 1)]
    return Provenance(
        judges=code,
        data={"train": data_hashes(train), "eval": data_hashes(evaluation)},
        prompt=_sha256(f"{text}\n{list(ids)}" for text, ids in prompts),
        stage=SUPERVISED if judges is None else ONLINE,
    )


def the_same_on_all_ranks(seen: Sequence[Provenance]) -> Provenance:
    """What every rank has seen. Raises ConfigError on all of them if one has other data, or other code of a judge.

    seen  of each rank, as gathered
    """
    first = seen[0]
    for rank, other in enumerate(seen):
        for kind, difference, _ in _differences(asdict(first), other, ["train", "eval"]):
            raise ConfigError(
                f"{difference}, on rank 0 and on rank {rank}, so the ranks would not train on one thing. Give every "
                f"machine the same {'code' if kind == 'judges' else 'data and model'}, best in one shared file system."
            )
    return first


def stage_of(state: Mapping[str, Any]) -> str:
    """ONLINE or SUPERVISED, of the run that wrote a checkpoint with this state."""
    return state.get(KEY, {}).get("stage", ONLINE)


def refuse_another_stage(folder: Path, state: Mapping[str, Any], now: Provenance) -> None:
    """Raise CheckpointError if the checkpoint in `folder` is of the other stage: supervised, or online."""
    if stage_of(state) == now.stage:
        return
    if now.stage == ONLINE:
        raise CheckpointError(
            f"{folder}: found a checkpoint of `online-rl sft`, expected one of online training. Start from the policy "
            "that it has trained, by model.path=run:RUN with another run.dir, or continue it by `online-rl sft`."
        )
    raise CheckpointError(
        f"{folder}: found a checkpoint of online training, expected one of `online-rl sft`. Choose another run.dir for "
        "the supervised stage, or continue this run by `online-rl train`."
    )


def data_hashes(studies: Sequence[Study]) -> dict[str, Any]:
    """Number of the studies, and the SHA-256 (hex) of each part of them, in their order.

    Image paths count from the folder that all share, so that a data set may move; pixels do not count, but the bytes of
    images in memory do.
    """
    return {
        "studies": len(studies),
        "ids": _sha256(study.study_id for study in studies),
        "references": _sha256(study.reference for study in studies),
        "indications": _sha256(study.indication for study in studies),
        "images": _sha256(_image_names(studies)),
        "further columns": _sha256(
            json.dumps(study.columns, sort_keys=True, default=lambda value: type(value).__name__) for study in studies
        ),
    }


def refuse_other_provenance(
    folder: Path, state: Mapping[str, Any], now: Provenance, cfg: Config, warn: Callable[[str], None]
) -> None:
    """Raise CheckpointError, naming the first thing that is not what the checkpoint in `folder` was trained with.

    What `resume_allow` names may differ under a warning. A checkpoint without hashes, as 0.1 wrote it, gives one
    warning. Held-out studies are compared only if `eval.studies`, which may change, still keeps as many.
    """
    saved = state.get(KEY)
    if saved is None:
        warn(
            f"{folder} was written by a version of online-rl that kept no hashes of judge code, data and prompt: "
            "whether they are still the same is not known. They are kept from here."
        )
        return
    splits = ["train", *(["eval"] if state["config"]["eval"].get("studies") == cfg.eval.studies else [])]
    for kind, difference, remedy in _differences(saved, now, splits):
        if kind == "data" and saved["data"]["train"].get("studies") != now.data["train"]["studies"]:
            raise CheckpointError(  # the position in the data would mean nothing
                f"{difference}, in {folder} and now. {remedy}, or choose another run.dir; start it from the trained "
                "policy by model.path=run:RUN."
            )
        if kind not in cfg.resume_allow:
            raise CheckpointError(
                f"{difference}, in {folder} and now. {remedy}, continue with what there is now by "
                f"resume_allow=[{kind}], or choose another run.dir."
            )
        warn(f"{difference}, in {folder} and now. The run continues by resume_allow; steps before and after differ.")


def _differences(saved: Mapping[str, Any], now: Provenance, splits: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """What differs: its kind, a sentence without its end, and what would undo it."""
    for name, files in now.judges.items():
        before = saved["judges"].get(name, {})
        changed = _changed(before, files)
        if before and files and changed:
            more = f" and {len(changed) - SHOWN_FILES} more files" if len(changed) > SHOWN_FILES else ""
            text = f"judge {name!r}: its code differs: {', '.join(changed[:SHOWN_FILES])}{more}"
            yield "judges", text, "Put the code back"
    for split in splits:
        if changed := _changed(saved["data"].get(split, {}), now.data[split]):
            yield "data", f"data: the {split} studies or their order differ: {', '.join(changed)}", "Put the data back"
    if saved["prompt"] != now.prompt:
        text = f"prompt: its text or tokens differ: sha256 {_short(saved['prompt'])}, {_short(now.prompt)}"
        yield "prompt", text, "Put data.prompt, chat template and tokenizer back"


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Each name whose value differs, with both values."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [f"{name} ({_short(before.get(name, ABSENT))}, {_short(now.get(name, ABSENT))})" for name in names]


def _short(value: Any) -> str:
    return str(value)[:DIGITS]


def _image_names(studies: Sequence[Study]) -> Iterator[str]:
    """One text per study that stands for its images: paths from the folder that all share, or hashes of the bytes."""
    folders = {os.path.dirname(image) for study in studies for image in study.images if isinstance(image, str)}
    try:
        shared = os.path.commonpath(folders) if folders else ""
    except ValueError:  # absolute and relative ones
        shared = ""
    for study in studies:
        yield "|".join(
            os.path.relpath(image, shared or ".") if isinstance(image, str) else hashlib.sha256(image).hexdigest()
            for image in study.images
        )


def _sha256(texts: Iterable[str]) -> str:
    """SHA-256 of the texts with their lengths, so that none can flow into the next."""
    digest = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()
