"""The files of a judge's code: its own file or package, and the local modules that these import.

Imports are read from the source, so that one inside a function counts before it has run. Installed packages count by
their version, except for the judge's own. A module whose name is made at run time, and data that a judge reads, are not
seen.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from judges.objects import BESIDE

TRAINER = ("judges", "online_rl")  # not followed into from a judge of the user's
CONTRACT = ("judges", "judges.base", "judges.errors")  # no score comes from these


def source_files(module: ModuleType | None) -> dict[str, Path]:
    """Every file that the scores of a judge in `module` depend on, by its path from the folder it was found in.

    Empty for a module without a source file, such as a notebook. Sorted by name.
    """
    path = Path(getattr(module, "__file__", None) or "")
    if module is None or path.suffix != ".py":
        return {}
    parts = module.__name__.split(".") if path.name == "__init__.py" else module.__name__.split(".")[:-1]
    root = path.parents[len(parts)] if len(parts) < len(path.parents) else path.parent
    top = parts[0] if parts else ""
    installed = _is_installed(root)
    folders = [root] if installed else [root, *_local_folders()]
    found: dict[str, Path] = {}
    waiting = [(root, file) for file in _own_files(module, path)]
    while waiting:
        base, file = waiting.pop()
        if file in found.values():
            continue
        found[file.relative_to(base).as_posix()] = file
        for imported in _imports(file, base) if file.suffix == ".py" else ():
            first = imported.partition(".")[0]
            if imported in CONTRACT or (first != top and (first in TRAINER or installed)):
                continue
            waiting += [(folder, target) for folder in folders if (target := _file_of(imported, folder))][:1]
    return dict(sorted(found.items()))


def _own_files(module: ModuleType, path: Path) -> list[Path]:
    """The module's file; for a judge in a package of its own such as `judges.green`, all of the package's files, its
    prompt among them."""
    package = getattr(module, "__package__", "") or ""
    if package.count(".") >= 1 or path.name == "__init__.py":
        return sorted(p for p in path.parent.iterdir() if p.suffix in (".py", ".txt"))
    return [path]


def _imports(file: Path, base: Path) -> Iterator[str]:
    """Dotted names that a file imports, each with the packages above it; of `from a import b` both a and a.b."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    package = file.relative_to(base).parent.parts
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (above, node.module or "") if part)
            names = [origin, *(f"{origin}.{alias.name}" if origin else alias.name for alias in node.names)]
        for name in names:
            words = name.split(".")
            yield from (".".join(words[: i + 1]) for i in range(len(words)) if name)


def _file_of(name: str, folder: Path) -> Path | None:
    place = folder.joinpath(*name.split("."))
    for file in (place / "__init__.py", place.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _local_folders() -> list[Path]:
    """Folders in which Python looks for modules that are not installed: working folder, PYTHONPATH, editable installs.

    Folders of other judges' files, which stand there as well once they are loaded, are not looked at.
    """
    folders = (Path(entry or ".").resolve() for entry in sys.path if entry not in BESIDE)
    return [folder for folder in folders if folder.is_dir() and not _is_installed(folder)]


def _is_installed(folder: Path) -> bool:
    paths = sysconfig.get_paths()
    places = [Path(paths[key]).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    folder = folder.resolve()
    named = {"site-packages", "dist-packages"} & set(folder.parts)
    return bool(named) or any(folder == place or place in folder.parents for place in places)
