"""`load_judge`: from what the configuration names to a judge.

| `use`                     | is                                                                 |
|---------------------------|--------------------------------------------------------------------|
| `findings`, `green`, ...  | a built-in judge                                                   |
| `package.module:object`   | an object of an installed module                                   |
| `path/to/file.py:object`  | an object of a file                                                |
| `my_judge`                | the entry point of that name in the group `online_rl.judges`       |

The object is a Judge class (made with `args`), a Judge instance, or a reward function in TRL's call form. User code
is imported only when the configuration names it; entry points that it does not name are never loaded.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from judges.base import Judge
from judges.callable import CallableJudge
from judges.errors import JudgeError
from judges.length import LengthControlled, Unit

BUILT_IN = {
    "findings": "judges.findings:FindingsJudge",
    "findings_f1": "judges.findings:FindingsF1",
    "green": "judges.green.judge:GreenJudge",
    "http": "judges.remote:HttpJudge",
}
ENTRY_POINT_GROUP = "online_rl.judges"
GIVEN = "python"  # python:NAME stands in a run's configuration for a judge that was given as an object


def load_judge(
    use: str | Judge | Callable[..., Any],
    args: dict[str, Any] | None = None,
    length_control: str = "none",
    name: str | None = None,
    *,
    length_unit: Unit = "words",
    length_args: dict[str, Any] | None = None,
    conversational: bool = False,
) -> Judge:
    """The judge that `use` names, made with `args`, called `name`, under the length rule `length_control`.

    use             a name as in the table above, or the object itself: a Judge class or instance, or a reward function
    conversational  give a reward function its prompts and completions as lists of messages, not as strings
    """
    found, shown = (_find(use), use) if isinstance(use, str) else (use, _shown(use))
    judge = _as_judge(found, shown, dict(args or {}), name, conversational)
    if length_control == "none":
        return judge
    return LengthControlled(judge, length_control, length_unit, length_args)


def judge_name(use: str) -> str:
    """The name a judge gets when the configuration gives none: the last part of `use`."""
    return use.rpartition(":")[2]


def _shown(given: Any) -> str:
    """What messages call an object that was given instead of named."""
    return str(getattr(given, "__name__", None) or type(given).__name__)


def _find(use: str) -> Any:
    place, colon, attribute = BUILT_IN.get(use, use).rpartition(":")
    if place == GIVEN:
        raise JudgeError(
            f"judge {use!r} was given to online_rl.train in Python, so it cannot be found by name. Give it again, or "
            "name a judge: a built-in one, package.module:object, or path/to/file.py:object."
        )
    if not colon:
        return _entry_point(use)
    if not place or not attribute:
        raise JudgeError(f"judge {use!r}: expected package.module:object or path/to/file.py:object.")
    module = _import_file(place, use) if place.endswith(".py") else _import_module(place, use)
    try:
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    except AttributeError:
        holds = _own_names(module)
        nearest = difflib.get_close_matches(attribute, holds, 1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        names = ", ".join(holds) or "no function or class"
        raise JudgeError(f"judge {use!r}: {place} has no {attribute!r}; it holds: {names}.{hint}") from None


def _entry_point(use: str) -> Any:
    named = tuple(entry_points(group=ENTRY_POINT_GROUP))
    for entry in named:
        if entry.name == use:
            try:
                return entry.load()
            except Exception as error:
                raise JudgeError(
                    f"judge {use!r}: its entry point {entry.value!r} raised {type(error).__name__} when loaded."
                ) from error
    valid = sorted({*BUILT_IN, *(entry.name for entry in named)})
    nearest = difflib.get_close_matches(use, valid, 1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise JudgeError(
        f"judge {use!r} is not known; valid names: {', '.join(valid)}; or package.module:object, or "
        f"path/to/file.py:object.{hint}"
    )


def _import_file(place: str, use: str) -> ModuleType:
    path = Path(place).expanduser()
    if not path.is_file():
        raise JudgeError(f"judge {use!r}: no file {path} (looked from {Path.cwd()}).")
    path = path.resolve()
    name = f"_judge_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise JudgeError(f"judge {use!r}: importing {place} raised {type(error).__name__}: {error}") from error
    return module


def _import_module(place: str, use: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            raise JudgeError(
                f"judge {use!r}: no module {error.name!r} is installed. For a file of your own, write its path: "
                f"./{place.replace('.', '/')}.py:{use.rpartition(':')[2]}"
            ) from error
        raise JudgeError(f"judge {use!r}: {place} needs the module {error.name!r}, which is not installed.") from error
    except Exception as error:
        raise JudgeError(f"judge {use!r}: importing {place} raised {type(error).__name__}: {error}") from error


def _as_judge(found: Any, use: str, args: dict[str, Any], name: str | None, conversational: bool) -> Judge:
    if inspect.isclass(found):
        try:
            inspect.signature(found).bind(**args)
        except TypeError as error:
            raise JudgeError(f"judge {use!r}: args {sorted(args)} do not fit: {error}.") from error
        found, args = found(**args), {}
    elif callable(getattr(found, "score", None)):
        if args:
            raise JudgeError(f"judge {use!r} is an instance already; args {sorted(args)} cannot be given to it.")
        found = copy.copy(found)  # a configuration may name one instance twice
    if callable(getattr(found, "score", None)):
        if conversational:
            raise JudgeError(f"judge {use!r}: conversational is for reward functions; this is a judge with `score`.")
        if name is not None or not isinstance(getattr(found, "name", None), str):
            found.name = name or judge_name(use)
        return found
    if callable(found):
        return CallableJudge(found, name or judge_name(use), args, conversational)
    raise JudgeError(
        f"judge {use!r} is of type {type(found).__name__}; expected a Judge class, a Judge instance, or a reward "
        "function."
    )


def _own_names(module: ModuleType) -> list[str]:
    """Public functions, classes and judges that the module defines itself."""
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (callable(value) or hasattr(value, "score"))
        and getattr(value, "__module__", module.__name__) == module.__name__
    )
