"""What a judge is, as a file and its hash: logged at start, and compared between a judge server and its client."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from judges.objects import FILE_PREFIX, module_of_file


@dataclass(frozen=True)
class Identity:
    """name     the judge's name
    use      what the configuration names
    version  the judge's `version`, else that of the installed package that it comes from, else ""
    hash     SHA-256 (hex) over the source of its module, or all modules and prompts of its package, and its arguments
    file     the source file; "" where there is none
    """

    name: str
    use: str
    version: str
    hash: str
    file: str

    def line(self) -> str:
        """For a log: which code this is, in one line."""
        version = f", version {self.version}" if self.version else ""
        return f"judge {self.name!r} is {self.use} ({self.file or 'no source file'}, sha256 {self.hash[:16]}{version})"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def identify(judge: Any, use: str, args: Mapping[str, Any] | None = None) -> Identity:
    """The identity of a loaded judge. Arguments that are not JSON enter the hash by their type alone."""
    inner = judge
    while hasattr(inner, "judge"):  # length control and other wrappers
        inner = inner.judge
    subject = getattr(inner, "function", inner)
    module = sys.modules.get(_module_name(subject, use))
    path = Path(getattr(module, "__file__", None) or "")
    digest = hashlib.sha256()
    for source in _sources(module, path):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    digest.update(json.dumps(dict(args or {}), sort_keys=True, default=lambda v: type(v).__name__).encode())
    version = getattr(inner, "version", None) or _distribution_version(getattr(module, "__name__", ""))
    return Identity(judge.name, use, str(version), digest.hexdigest(), str(path) if path.name else "")


def _module_name(subject: Any, use: str) -> str:
    place = use.rpartition(":")[0]
    if place.endswith(".py"):  # the user's own file counts, wherever its objects are made
        module = module_of_file(place)
        if module is not None:
            return module.__name__
    if place in sys.modules:
        return place
    owner = subject if inspect.isroutine(subject) or inspect.isclass(subject) else type(subject)
    return str(getattr(owner, "__module__", ""))


def _sources(module: Any, path: Path) -> list[Path]:
    """The module's file; for a judge in a package of its own such as `judges.green`, all of the package's files, its
    prompt among them."""
    if not path.name or path.suffix != ".py":
        return []
    package = getattr(module, "__package__", "") or ""
    if package.count(".") >= 1 or path.name == "__init__.py":
        return sorted(p for p in path.parent.iterdir() if p.suffix in (".py", ".txt"))
    return [path]


def _distribution_version(module: str) -> str:
    top = module.partition(".")[0]
    if not top or top.startswith(FILE_PREFIX):
        return ""
    try:
        return importlib.metadata.version("online-rl" if top in ("judges", "online_rl") else top)
    except importlib.metadata.PackageNotFoundError:
        return ""
