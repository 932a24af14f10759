"""`run:RUN` in place of a policy's path: the policy that the run in folder RUN has trained."""

from __future__ import annotations

import os
from pathlib import Path as Folder
from typing import Annotated

from pydantic import AfterValidator

from online_rl.config.section import Path
from online_rl.errors import ConfigError

PREFIX = "run:"
MODEL = "model"  # the folder inside a run's in which its policy lies at the end


def policy_of(text: str) -> str:
    """RUN/model for `run:RUN` whose run has ended; any other text unchanged, for `refuse_no_policy` to explain.

    So a configuration that names a run of another machine can be read, and a resolved one names a plain folder.
    """
    if not text.startswith(PREFIX):
        return text
    folder = _folder(text) / MODEL
    return str(folder) if (folder / "config.json").is_file() else text


PolicyPath = Annotated[Path, AfterValidator(policy_of)]


def refuse_no_policy(text: str, key: str) -> None:
    """Raise ConfigError, which begins with `key`, for a `run:RUN` that names no trained policy."""
    if not text.startswith(PREFIX):
        return
    folder = _folder(text)
    expected = f"{key}: found {text!r}, expected {PREFIX} and the folder of a run that has ended"
    if text == PREFIX or not folder.is_dir():
        what = "there is no such folder" if text != PREFIX else "no folder is named"
        raise ConfigError(f"{expected}; {what} (looked from {Folder.cwd()}). Correct the path.")
    if (folder / "config.json").is_file():
        raise ConfigError(f"{expected}; {folder} is a model's folder. Name it without {PREFIX}")
    if (folder / "state.json").is_file():
        raise ConfigError(
            f"{expected}; {folder} is one of a run's checkpoints. Write it as a model, `online-rl export {folder} "
            f"--output FOLDER`, and name that folder without {PREFIX}"
        )
    if not (folder / "config.resolved.yaml").is_file():
        raise ConfigError(f"{expected}; {folder} holds no run (no config.resolved.yaml). Correct the path.")
    raise ConfigError(
        f"{expected}; the run in {folder} has no {MODEL}/ yet. Let it end (resume=auto continues it), or write its "
        f"newest checkpoint as a model, `online-rl export {folder} --output FOLDER`, and name that folder without "
        f"{PREFIX}"
    )


def _folder(text: str) -> Folder:
    return Folder(os.path.expanduser(text.removeprefix(PREFIX)))
