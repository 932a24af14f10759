"""A step that was sampled while the one before it was learned from, as a checkpoint keeps it (`scoring.behind`).

Its scores are not kept: whoever continues asks the judges again, and they answer as they would have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from online_rl.data.study import Study
from online_rl.errors import CheckpointError
from online_rl.ranks import collectives
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.whole_file import whole_file

Saved = dict[str, Any]
SAMPLED = ("ids", "logprobs", "text", "truncated", "unclosed")  # what cannot be computed again of a completion


def write_ahead(ahead: Rollouts | Saved | None, folder: Path) -> None:
    """Write this rank's rollouts into a checkpoint, for the user's eyes alone; nothing if there are none."""
    if ahead is not None:
        with whole_file(_file(folder), private=True) as file:
            file.write_text(json.dumps(_as_saved(ahead) if isinstance(ahead, Rollouts) else ahead))


def _as_saved(rollouts: Rollouts) -> Saved:
    groups = [
        {
            "study_id": group[0].prompt.study.study_id,
            "completions": [{name: getattr(completion, name) for name in SAMPLED} for completion in group],
        }
        for group in rollouts.groups
    ]
    return {"version": rollouts.version, "groups": groups}


def read_ahead(folder: Path) -> Saved | None:
    """What `write_ahead` wrote for this rank; None if there was nothing."""
    file = _file(folder)
    return json.loads(file.read_text()) if file.exists() else None


def rollouts_of(saved: Saved, studies: Sequence[Study], build: Callable[[Sequence[Study]], list[Prompt]]) -> Rollouts:
    """The rollouts that `saved` describes, still to be read through, with their prompts built anew.

    Raises CheckpointError if the data lack a study of theirs.
    """
    known = {study.study_id: study for study in studies}
    missing = [group["study_id"] for group in saved["groups"] if group["study_id"] not in known]
    if missing:
        raise CheckpointError(
            f"data: the checkpoint holds reports sampled for study {missing[0]}, which the data lack now. Bring it "
            "back, or continue from another checkpoint."
        )
    prompts = {prompt.study.study_id: prompt for prompt in build([known[g["study_id"]] for g in saved["groups"]])}
    groups = [group for group in saved["groups"] if group["study_id"] in prompts]  # others' images decode no longer
    completions = [
        Completion(
            group=g,
            candidate=i,
            prompt=prompts[group["study_id"]],
            ids=tuple(sampled["ids"]),
            logprobs=tuple(sampled["logprobs"]),
            text=sampled["text"],
            truncated=sampled["truncated"],
            unclosed=sampled["unclosed"],
        )
        for g, group in enumerate(groups)
        for i, sampled in enumerate(group["completions"])
    ]
    return Rollouts(completions, len(groups), len(saved["groups"][0]["completions"]), saved["version"])


def _file(folder: Path) -> Path:
    return folder / f"ahead-rank-{collectives.rank()}.json"
