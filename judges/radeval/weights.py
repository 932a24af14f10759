"""Which weights of a metric are on this machine, found without importing RadEval and without the network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judges.radeval.metrics import MODEL, TOKENIZER, AnyOf, Need, metric_named

RADGRAPH_VERSION = "0.1.18"  # RadEval keeps its models where that version of the package `radgraph` had them
RADGRAPH_REPO = "StanfordAIMI/RRG_scorers"


@dataclass(frozen=True)
class Found:
    """missing    "repo: files (looked in folder)" for each repository of which files are not there
    revisions  commits of the hub's snapshots that are, for the judge's identity
    """

    missing: tuple[str, ...]
    revisions: tuple[str, ...]


def look_up(metric: str) -> Found:
    """Look for everything that the metric reads."""
    known = metric_named(metric)
    needs = list(known.needs)
    missing: list[str] = []
    revisions: list[str] = []
    if known.radgraph:
        needs += _radgraph_needs(known.radgraph, missing)
    for need in needs:
        paths = {file: _path(need, file) for file in need.files}
        if absent := [f"a {file.kind}" if isinstance(file, AnyOf) else file for file in paths if paths[file] is None]:
            missing.append(f"{need.repo}: {', '.join(absent)} (looked in {folder(need.cache)})")
        for path in paths.values():
            if path is not None and path.parent.parent.name == "snapshots":
                revisions.append(f"{need.repo}@{path.parent.name}")
    return Found(tuple(missing), tuple(dict.fromkeys(revisions)))


def folder(cache: str) -> str:
    """Where a kind of file lies: the hub's cache, NLTK's folders, or a folder of the user's cache."""
    if cache == "hub":
        from huggingface_hub.constants import HF_HUB_CACHE

        return HF_HUB_CACHE
    if cache == "nltk":
        import nltk

        return nltk.data.path[0] if nltk.data.path else "nltk_data"
    from appdirs import user_cache_dir

    return str(user_cache_dir(cache))


def _path(need: Need, file: str | AnyOf) -> Path | None:
    if need.cache == "nltk":
        return _nltk_path(f"tokenizers/{need.repo}/{file}")
    from huggingface_hub import try_to_load_from_cache

    for name in file.names if isinstance(file, AnyOf) else (file,):
        found: Any = try_to_load_from_cache(need.repo, name, cache_dir=folder(need.cache))
        if isinstance(found, str):
            return Path(found)
    return None


def _nltk_path(name: str) -> Path | None:
    import nltk

    try:
        return Path(str(nltk.data.find(name)))
    except LookupError:
        return None


def _radgraph_needs(model: str, missing: list[str]) -> list[Need]:
    """What the RadGraph model needs beside itself: the encoder that its configuration names."""
    cache = Path(folder("radgraph")) / RADGRAPH_VERSION
    config = cache / model / "config.json"
    if config.is_file():
        try:
            encoder = json.loads(config.read_text())["dataset_reader"]["token_indexers"]["bert"]["model_name"]
        except (ValueError, KeyError, TypeError):
            missing.append(f"a readable {config}")
            return []
        return [Need(encoder, ("config.json", MODEL, TOKENIZER))]
    archive = Need(RADGRAPH_REPO, (f"{model}.tar.gz",), f"radgraph/{RADGRAPH_VERSION}")
    return [archive]
