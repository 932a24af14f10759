"""Objects that a configuration names: judges, algorithms and readers, built-in ones and those of a user.

| a name                    | is                                                        |
|---------------------------|-----------------------------------------------------------|
| `findings`, `grpo`, `csv` | built in                                                  |
| `package.module:object`   | an object of an installed module                          |
| `path/to/file.py:object`  | an object of a file                                       |
| `my_name`                 | the entry point of that name in the group for this kind   |

User code is imported only when the configuration names it; entry points that it does not name are never loaded.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from judges.errors import UserError

FILE_PREFIX = "_outside_"  # of the names under which users' files stand in sys.modules
BESIDE: set[str] = set()  # folders of users' files that stand on sys.path for their sake
FORMS = "package.module:object, or path/to/file.py:object"
STANDARD_LIBRARY = f"{Path(importlib.__file__).parents[1]}/"  # installed packages may lie in it
OWN_CODE = tuple(f"{Path(__file__).resolve().parents[1] / name}/" for name in ("judges", "online_rl"))


@dataclass(frozen=True)
class Kind:
    """One kind of object that can be named.

    what      starts every message, before the name: "judge", "algorithm.name"
    built_in  name -> the object, or the place "module:object" from which it is imported when it is named
    group     group of entry points
    error     raised for whatever is wrong with a name
    """

    what: str
    built_in: Mapping[str, Any]
    group: str
    error: type[UserError]

    def load(self, use: str) -> Any:
        """Import the object that `use` names. Raises `error` with the name, file and line at fault, and the remedy."""
        found = self.built_in.get(use, use)
        if not isinstance(found, str):
            return found
        place, colon, attribute = found.rpartition(":")
        if not colon:
            return self._entry_point(use)
        if not place or not attribute:
            self.refuse(use, f"expected {FORMS}.")
        module = self._file(place, use) if place.endswith(".py") else self._module(place, use)
        try:
            found = module
            for part in attribute.split("."):
                found = getattr(found, part)
            return found
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module's own __getattr__ may raise anything
            if not isinstance(error, AttributeError):
                self.refuse(use, f"looking up {attribute!r} in {place} raised {_said(error)}. Correct it.", error)
            holds = _own_names(module)
            names = ", ".join(holds) or "no function or class"
            self.refuse(use, f"{place} has no {attribute!r}; it holds: {names}.{_nearest(attribute, holds, 0.6)}")

    def knows(self, use: str) -> bool:
        """Whether `use` is built in, the name of an entry point, or a place. Nothing is imported to find out."""
        return ":" in use or use in self.names()

    def missing(self, use: str) -> str | None:
        """Why `use` cannot be found, None if nothing speaks against it. The user's code is parsed, not imported."""
        place, colon, attribute = use.rpartition(":")
        if use in self.built_in or (not colon and use in self.names()):
            return None
        if not colon:
            return self._unknown(use)
        if not place or not attribute:
            return f"{self.what} {use!r}: expected {FORMS}."
        if place.endswith(".py"):
            problem = missing_in_file(Path(os.path.expanduser(place)), attribute)
        else:
            top = place.partition(".")[0]
            there = top in sys.modules or importlib.util.find_spec(top) is not None
            near = self.hint(use) if any(name.startswith(f"{place}:") for name in self.built_in) else ""
            problem = None if there else f"no module {top!r} is installed. Install it, or write a file's path.{near}"
        return f"{self.what} {use!r}: {problem}" if problem else None

    def hint(self, use: str) -> str:
        """A sentence with the valid name nearest to `use`; empty if none is near."""
        return _nearest(use, self.names(), 0.5)

    def names(self) -> list[str]:
        """Built-in names and those of the installed entry points, sorted."""
        return sorted({*self.built_in, *(entry.name for entry in entry_points(group=self.group))})

    def refuse(self, use: str, problem: str, cause: BaseException | None = None) -> NoReturn:
        """Raise `error`, with file and line of the user's code if `cause` was raised there."""
        place = user_line(cause) if cause is not None else ""
        raise self.error(f"{self.what} {use!r}: {problem}{f' ({place})' if place else ''}") from cause

    def _entry_point(self, use: str) -> Any:
        for entry in entry_points(group=self.group):
            if entry.name == use:
                try:
                    return entry.load()
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    raised = f"its entry point {entry.value!r} raised {_said(error)} when loaded"
                    self.refuse(use, f"{raised}. Correct the package, or name something else.", error)
        raise self.error(self._unknown(use))

    def _unknown(self, use: str) -> str:
        names = ", ".join(self.names())
        return f"{self.what} {use!r} is not known; valid names: {names}; or {FORMS}.{self.hint(use)}"

    def _file(self, place: str, use: str) -> ModuleType:
        path = Path(os.path.expanduser(place))
        if not path.is_file():
            self.refuse(use, f"no file {path} (looked from {Path.cwd()}). Correct the path.")
        path = path.resolve()
        name = f"{FILE_PREFIX}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickle look their module up there
        if str(path.parent) not in sys.path:  # for modules beside it; last, so that none hides an installed one
            sys.path.append(str(path.parent))
            BESIDE.add(str(path.parent))
        try:
            spec.loader.exec_module(module)
        except BaseException as error:  # a script that parses arguments when imported exits
            del sys.modules[name]
            self._raised(use, place, error)
        return module

    def _module(self, place: str, use: str) -> ModuleType:
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name and (place == error.name or place.startswith(error.name + ".")):
                self.refuse(
                    use,
                    f"no module {error.name!r} is installed. For a file of your own, write its path: "
                    f"./{place.replace('.', '/')}.py:{use.rpartition(':')[2]}",
                )
            self.refuse(use, f"{place} {needed_module(error)}.", error)
        except BaseException as error:
            self._raised(use, place, error)

    def _raised(self, use: str, place: str, error: BaseException) -> NoReturn:
        if isinstance(error, KeyboardInterrupt):
            raise error
        needed = needed_module(error)
        remedy = f"It {needed}." if needed else "Correct it."
        self.refuse(use, f"importing {place} raised {_said(error)}. {remedy}", error)


def needed_module(error: BaseException) -> str:
    """What code needs that raised `error` for a module that is not there, with the remedy; empty for other errors."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    top = error.name.partition(".")[0]
    return (
        f"needs the module {error.name!r}, which is not installed: install it here, or put {top}.py beside the file "
        "that imports it"
    )


def missing_in_file(path: Path, attribute: str) -> str | None:
    """Why the file cannot hold the object, None if it may. It is parsed, not run."""
    if not path.is_file():
        return f"no file {path} (looked from {Path.cwd()}). Correct the path."
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, OSError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return f"{path} is not readable as Python: {getattr(error, 'msg', None) or error}{line}. Correct it."
    bound: set[str] = set()
    for node in ast.walk(tree):  # names bound anywhere: a judge may be made inside `if` or `try`
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
    first = attribute.partition(".")[0]
    if first in bound or bound & {"*", "__getattr__"}:
        return None
    holds = ", ".join(sorted(n.name for n in tree.body if isinstance(n, _DEFINITIONS) and n.name[0] != "_"))
    near = _nearest(first, sorted(bound), 0.6)
    return f"{path} has no {attribute!r}; it holds: {holds or 'no function or class'}.{near}"


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def last_word(use: str) -> str:
    """The name that stands for an object when none is given: what follows the last colon.

    >>> last_word("my_loss.py:MyAlgorithm"), last_word("grpo")
    ('MyAlgorithm', 'grpo')
    """
    return use.rpartition(":")[2]


def module_of_file(place: str) -> ModuleType | None:
    """The module that was loaded from this file, None if none was."""
    path = str(Path(os.path.expanduser(place)).resolve())
    for name, module in list(sys.modules.items()):
        if name.startswith(FILE_PREFIX) and getattr(module, "__file__", None) == path:
            return module
    return None


def user_line(error: BaseException) -> str:
    """Name `file:line` of the user's code that `error` went through: the first file that is neither ours nor Python's
    own, at its last line there.

    Empty if there is no such file.
    """
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):  # a text has no file
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", *OWN_CODE)) and not _is_pythons(frame.filename)
    ]
    if not frames:
        return ""
    return f"{frames[0].filename}:{[f.lineno for f in frames if f.filename == frames[0].filename][-1]}"


def _is_pythons(file: str) -> bool:
    """Whether a file belongs to the standard library."""
    return file.startswith(STANDARD_LIBRARY) and "-packages/" not in file


def _said(error: BaseException) -> str:
    """The type of an exception and its text, if it has one that can be read."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _nearest(name: str, names: list[str], cutoff: float) -> str:
    nearest = difflib.get_close_matches(name, names, 1, cutoff)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""


def _own_names(module: ModuleType) -> list[str]:
    """Public functions, classes and judges that the module defines itself."""
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (callable(value) or hasattr(value, "score"))
        and getattr(value, "__module__", module.__name__) == module.__name__
    )
