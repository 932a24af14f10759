"""What a caller in Python hands over instead of naming it in the configuration: judges, studies, a callback."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from judges.base import Judge
from judges.callable import CallableJudge
from judges.identity import innermost
from judges.length import LengthControlled
from judges.network import addresses_of
from judges.registry import GIVEN
from online_rl.config import Config, load_config
from online_rl.data.layouts import PYTHON
from online_rl.errors import ConfigError

OnStep = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Given:
    """Objects that a run uses as they are.

    judges   what `judges[].use` and `guards[].use` call them, python:NAME -> the judge itself
    studies  as `online_rl.train` takes them; None = the configuration's
    on_step  called on rank 0 after each step, with the step and its metrics over all ranks
    """

    judges: dict[str, Judge] = field(default_factory=dict)
    studies: Any = None
    on_step: OnStep | None = None


def with_given(
    cfg: Config, reward: Any = None, guards: Sequence[Any] | None = None, studies: Any = None, on_step: Any = None
) -> tuple[Config, Given]:
    """The configuration with what was given in place of its own, and the objects. Raises ConfigError.

    Names in the configuration (judges[0].use=python:NAME, data.reader=python) make the run folder say what it was
    trained with, let a resume compare it, and hold the rules between keys to it.
    """
    own: dict[str, Any] = {}
    judges: dict[str, Judge] = {}
    if reward is not None:
        own["judges"] = [_entry(as_judge(reward, "reward"), judges)]
    if guards is not None:
        if isinstance(guards, str) or not isinstance(guards, Sequence):
            raise ConfigError(f"guards: found {type(guards).__name__}, expected a list of functions or Judges.")
        own["guards"] = [_entry(as_judge(guard, f"guards[{i}]"), judges) for i, guard in enumerate(guards)]
    if studies is not None:
        own |= {"data.reader": PYTHON, "data.path": None}
    if on_step is not None and not callable(on_step):
        raise ConfigError(f"on_step: found {type(on_step).__name__}, expected a function on_step(step, metrics).")
    return load_config(cfg, own), Given(judges, studies, on_step)


def as_judge(value: Any, key: str) -> Judge:
    """A Judge as it is; a function in TRL's form as a judge. Raises ConfigError, which begins with `key`."""
    expected = "expected a function reward(completions, **columns) -> list of floats, or a Judge"
    if inspect.isclass(value):
        raise ConfigError(f"{key}: found the class {value.__name__}, {expected}. Make one: {value.__name__}(...).")
    if callable(getattr(value, "score", None)):
        if not isinstance(getattr(value, "name", None), str) or not value.name:
            raise ConfigError(f"{key}: a {type(value).__name__} without a name; give the judge a `name`, a text.")
        return value
    if callable(value):
        name = getattr(value, "__name__", "")
        return CallableJudge(value, name if name.isidentifier() else key.partition("[")[0])
    hint = f" judges.load_judge({value!r}) makes one by its name." if isinstance(value, str) else ""
    raise ConfigError(f"{key}: found {type(value).__name__}, {expected}.{hint}")


def _entry(judge: Judge, judges: dict[str, Judge]) -> dict[str, Any]:
    """How the judge stands in the configuration; its addresses as well, so that the rule about them reads them."""
    use = f"{GIVEN}:{judge.name}"
    judges[use] = judge
    entry: dict[str, Any] = {"use": use, "name": judge.name}
    if isinstance(judge, LengthControlled):
        if judge.rule_name:
            entry |= {"length_control": judge.rule_name, "length_args": judge.rule_args}
        entry["length_unit"] = judge.unit
    entry["conversational"] = getattr(innermost(judge), "conversational", False) is True
    addresses = addresses_of(judge)
    return entry | ({"args": {"urls": addresses}} if addresses else {})
