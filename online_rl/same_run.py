"""Whether a checkpoint is of the run that a configuration describes.

The same are the keys and values, the number of ranks, and, by hash, judge code, data and prompt.

Some keys may differ: where things are written, how long to wait, and how the same sums are laid out in memory. The last
change an update by the rounding of floating-point numbers and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from online_rl.config import Config
from online_rl.config.messages import dotted, valid_names
from online_rl.config.migrate import migrate, moved_note
from online_rl.errors import CheckpointError
from online_rl.provenance import Provenance, refuse_another_stage, refuse_other_provenance
from online_rl.ranks import collectives

# What may differ when a run resumes; everything else would make it another run.
FREE_KEYS = (
    "run.dir",
    "resume",
    "resume_allow",
    "train.max_steps",
    "train.stop_after",
    "train.save_every",
    "train.keep_checkpoints",
    "train.collective_timeout_s",
    "eval",
    "monitor",
    "data.confidential",
    "scoring.call_timeout_s",
    "scoring.deadline_s",
    "scoring.max_retries",
    "scoring.outage_s",
    "scoring.max_failed_rate",
    "scoring.max_unscorable_rate",
    "scoring.workers",
    "scoring.canary_every",
    "scoring.price_studies",
    "rollout.verify_sync_every",
    "rollout.max_logp_difference",
    "rollout.max_token_logp_difference",
    "rollout.max_model_len",  # what fits is read alike; a prompt that does not stops the run
    "rollout.gpu_memory_utilization",
    "demo.cache",
    "data.bad_images_budget",
    "data.image_cache",
    "data.study_cache",
    # The same sums in another layout: for a run that continues after it was out of memory.
    "train.micro_batch_tokens",
    "train.logits_chunk",
    "rollout.max_num_seqs",
    "debug.image_features_once",
    "debug.share_prompts",
    "model.gradient_checkpointing",
    "debug.read_ahead",
    "debug.profile",
    "sft",  # a supervised run has its numbers in `train`
)


def refuse_another_run(
    folder: Path, state: dict[str, Any], cfg: Config, warn: Callable[[str], None], seen: Provenance | None = None
) -> None:
    """Raise CheckpointError if continuing with `state`, that of the checkpoint in `folder`, would make it another run.

    A key that only this version has stands at its default, with a warning, or is refused.

    seen  what this launch would train with; None leaves judge code, data and prompt uncompared
    """
    if seen:
        refuse_another_stage(folder, state, seen)
    world = state["world_size"]
    if world != collectives.world_size():
        raise CheckpointError(
            f"{folder} was written by {world} rank(s); this launch has {collectives.world_size()}. "
            f"Launch with {world}, or start a new run.dir."
        )
    old = migrate(state["config"], checkpoint=True)
    if old.problems:
        raise CheckpointError(f"{folder}: {' '.join(old.problems)}")
    if old.moved:
        warn(f"{folder}: {moved_note(old.moved)}")
    saved, wanted = _compared(old.data), _compared(cfg.model_dump(mode="json"))
    before, now, default = _flat(saved), _flat(wanted), _flat(_compared(_filled_up(folder, saved)))
    newer = []
    for key in sorted(before.keys() | now.keys()):
        if before.get(key, default.get(key)) == now.get(key):
            newer += [] if key in before else [f"{key}={now[key]!r}"]
        elif key in before:
            raise CheckpointError(
                f"{key}: the checkpoint {folder} was trained with {before[key]!r}, this configuration says "
                f"{now.get(key)!r}. Set it back to continue, or choose another run.dir."
            )
        else:
            raise CheckpointError(
                f"{key}: the checkpoint {folder} was written by a version of online-rl without this key; this "
                f"configuration says {now[key]!r}. Go on with its default, {default[key]!r}, or choose another run.dir."
            )
    if newer:
        warn(
            f"{folder} was written by a version of online-rl without {', '.join(newer)}; these defaults hold from here."
        )
    if seen:
        refuse_other_provenance(folder, state, seen, cfg, warn)


def _filled_up(folder: Path, saved: dict[str, Any]) -> dict[str, Any]:
    """A saved configuration with this version's defaults for the keys that it lacks."""
    try:
        return Config.model_validate(saved).model_dump(mode="json")
    except ValidationError as problem:
        error = problem.errors(include_url=False)[0]
        raise CheckpointError(
            f"{dotted(error['loc'])}: the checkpoint {folder} was trained with {error['input']!r}, which this version "
            "of online-rl does not know. Go on with the version that wrote it, or choose another run.dir."
        ) from None


def _compared(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without its free keys, and without `url` and `urls` under a judge's args, which say where a
    server is and not what it is."""
    config = copy.deepcopy(config)
    for name in FREE_KEYS:
        section, _, key = name.rpartition(".")
        (config.get(section, {}) if section else config).pop(key, None)
    for entry in (*config["judges"], *config.get("guards", [])):
        entry["args"] = {key: value for key, value in entry["args"].items() if key not in ("url", "urls")}
    return config


def _flat(tree: dict[str, Any], prefix: str = "", names: str = "") -> dict[str, Any]:
    """Values by dotted key; of a list of judges their kinds, then each one's keys as judges[0].use.

    names  the prefix as `valid_names` has it, judges[].
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        key, known = prefix + name, names + name
        if isinstance(value, list) and f"{known}[].use" in valid_names():
            flat[key] = [entry["use"] for entry in value]
            for i, entry in enumerate(value):
                flat |= _flat(entry, f"{key}[{i}].", f"{known}[].")
        elif isinstance(value, dict) and any(valid.startswith(known + ".") for valid in valid_names()):
            flat |= _flat(value, key + ".", known + ".")
        else:
            flat[key] = value
    return flat
