"""Judges with a state: adapted once per step from the records of all ranks, and kept in checkpoints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from judges.base import Judge
from judges.border import border
from online_rl.errors import JudgeError

Pairs = Sequence[tuple[Judge, float]]


def adapt(judges: Pairs, groups: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    """Tell each judge the mean verbosity of the step, as its own length control counted it.

    groups  the records of every group of every rank, equal on all ranks; so the judges stay equal as well
    """
    for judge, _ in judges:
        if not hasattr(judge, "adapt"):
            continue
        scores = [{**r["scores"], **r.get("guards", {})}.get(judge.name, (None, {})) for g in groups for r in g]
        ratios = [parts["verbosity"] for _, parts in scores if "verbosity" in parts]
        if ratios:
            with border(f"judge {judge.name!r}", "adapt()"):
                judge.adapt(math.fsum(ratios) / len(ratios))


def judge_states(judges: Pairs) -> dict[str, Any]:
    """Judge name -> what the checkpoint keeps of it; only judges with a state."""
    states = {}
    for judge, _ in judges:
        if hasattr(judge, "state_dict"):
            with border(f"judge {judge.name!r}", "state_dict()"):
                state = judge.state_dict()
            states[judge.name] = _plain(judge, state)
    return {name: state for name, state in states.items() if state}


def _plain(judge: Judge, state: Any) -> Any:
    """The state as JSON holds it, numbers and arrays of NumPy or torch as plain ones. Raises JudgeError."""
    try:
        return json.loads(json.dumps(state, default=lambda value: value.tolist()))
    except (AttributeError, TypeError, ValueError):
        raise JudgeError(
            f"judge {judge.name!r}: state_dict() gave what JSON cannot hold, and checkpoints are JSON. Return numbers, "
            "strings, lists and dictionaries."
        ) from None


def load_judge_states(judges: Pairs, states: Mapping[str, Any], other_code: bool = False) -> None:
    """Continue with the judges as they were at the checkpoint.

    other_code  a judge server may serve another judge than it did then
    """
    for judge, _ in judges:
        if judge.name in states and hasattr(judge, "load_state_dict"):
            state = states[judge.name]
            with border(f"judge {judge.name!r}", "load_state_dict()"):
                judge.load_state_dict(_without_served_hash(state) if other_code else state)


def _without_served_hash(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state of a judge without the hash that `HttpJudge` compares; length control keeps it one level down."""
    kept = {key: value for key, value in state.items() if key != "hash"}
    return kept | {"judge": _without_served_hash(kept["judge"])} if isinstance(kept.get("judge"), dict) else kept
