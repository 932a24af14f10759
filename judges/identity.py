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
from types import ModuleType
from typing import Any

from judges.objects import FILE_PREFIX, module_of_file
from judges.sources import source_files
from judges.transform import Transformed


@dataclass(frozen=True)
class Identity:
    """name     the judge's name
    use      what the configuration names
    version  the judge's `version`, else that of the installed package that it comes from, else ""
    hash     SHA-256 (hex) over its source files (`judges.sources`), its arguments and its `fingerprint`, if it has one
    file     the source file; "" if there is none
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
    inner, module = innermost(judge), _module(judge, use)
    path = Path(getattr(module, "__file__", None) or "")
    digest = hashlib.sha256()
    for name, source in source_files(module).items():
        digest.update(name.encode() + b"\0" + source.read_bytes())
    digest.update(json.dumps(dict(args or {}), sort_keys=True, default=lambda v: type(v).__name__).encode())
    digest.update(str(getattr(inner, "fingerprint", "")).encode())
    for name, own in _transforms(judge).items():
        digest.update(f"{name}\0{own}".encode())
    version = getattr(inner, "version", None) or _distribution_version(getattr(module, "__name__", ""))
    return Identity(judge.name, use, str(version), digest.hexdigest(), str(path) if path.name else "")


def code_hashes(judge: Any, use: str) -> dict[str, str]:
    """SHA-256 (hex) of each source file of a loaded judge, by the file's name, and its `fingerprint` if it has one.

    Of a function or class without a file, as in a notebook, its own source; empty if there is none.
    """
    files = source_files(_module(judge, use))
    own = {"its fingerprint": str(found)} if (found := getattr(innermost(judge), "fingerprint", "")) else {}
    if files:
        read = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
        return read | own | _transforms(judge)
    subject = getattr(innermost(judge), "function", innermost(judge))
    owner = subject if inspect.isroutine(subject) or inspect.isclass(subject) else type(subject)
    try:
        return {owner.__qualname__: hashlib.sha256(inspect.getsource(owner).encode()).hexdigest()}
    except (OSError, TypeError):
        return {}


def innermost(judge: Any) -> Any:
    """The judge itself, without length control and other wrappers."""
    while hasattr(judge, "judge"):
        judge = judge.judge
    return judge


def _transforms(judge: Any) -> dict[str, str]:
    """Hashes of the files of the user's transforms around a judge."""
    while hasattr(judge, "judge"):
        if isinstance(judge, Transformed):
            return judge.transform_hashes()
        judge = judge.judge
    return {}


def _module(judge: Any, use: str) -> ModuleType | None:
    inner = innermost(judge)
    return sys.modules.get(_module_name(getattr(inner, "function", inner), use))


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


def _distribution_version(module: str) -> str:
    top = module.partition(".")[0]
    if not top or top.startswith(FILE_PREFIX):
        return ""
    try:
        return importlib.metadata.version("online-rl" if top in ("judges", "online_rl") else top)
    except importlib.metadata.PackageNotFoundError:
        return ""
