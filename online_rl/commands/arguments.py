"""Arguments that several commands take: a configuration, by place or by name, and settings over it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Settings = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings over the file's, rollout.group_size=4")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONFIG] [KEY=VALUE]...", help="YAML configuration, and settings over it, rollout.group_size=4"
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="YAML configuration, as an option instead of the first argument"
    ),
]


def config_in(config: Path | None, words: list[str] | None, needed: bool = False) -> tuple[Path | None, list[str]]:
    """Sort a command line's words into the configuration's file and the settings over it."""
    from online_rl.errors import ConfigError

    words = list(words or [])
    if config is None and words and "=" not in words[0]:
        config = Path(words.pop(0))
    if config is None and needed:
        raise ConfigError("no configuration given; expected CONFIG, such as configs/demo_grpo.yaml, or --config FILE.")
    return config, words
