"""Where the judge's servers run: on GPUs of their own, on every GPU that trains, or wherever a URL says.

own_gpus  the first rank of a machine starts them, one for each GPU that `server: {gpu: "6,7"}` names; all ranks use all
shared    each rank starts one on the GPU that it trains on; it sleeps while the policy updates
url       servers that somebody else started; with `shared` beside a url they sleep as well
"""

from __future__ import annotations

import os
from typing import Any

from judges.errors import ConfigError
from judges.green.keeper import OwnServer, gpus_of_this_machine
from judges.green.server import this_platform

PLACES = ("own_gpus", "shared", "url")
OPTIONS = ("gpu", "dtype", "ngram", "extra")


def chosen(place: str | None, addresses: list[str], server: dict[str, Any], share_gpu: bool | None) -> str:
    """The place that the arguments of the judge mean. Raises ConfigError where they contradict each other."""
    if share_gpu is not None:
        now = "shared" if share_gpu else "own_gpus"
        raise ConfigError(
            f"judge green: share_gpu is called place since 0.2; for share_gpu={share_gpu} set place={now}."
        )
    if place is not None and place not in PLACES:
        raise ConfigError(f"judge green: place is {place!r}, expected {', '.join(PLACES)}.")
    if server and addresses:
        raise ConfigError("judge green: `server` is for a server that is started here; leave it or the url out.")
    unknown = sorted(set(server) - set(OPTIONS))
    if unknown:
        raise ConfigError(f"judge green: server holds {', '.join(unknown)}; expected {', '.join(OPTIONS)}.")
    if place == "url" and not addresses:
        raise ConfigError("judge green: place is url, and there is none; give url, or urls for several servers.")
    if place == "own_gpus" and addresses:
        raise ConfigError(
            "judge green: place is own_gpus beside a url, whose server runs already; leave one of them out."
        )
    if place == "shared" and server.get("gpu") is not None:
        raise ConfigError(
            f"judge green: place is shared beside server.gpu={server['gpu']!r}; each rank has a server on its own GPU. "
            "Leave gpu out, or set place=own_gpus and train on the other GPUs."
        )
    return place or ("url" if addresses else "own_gpus")


def own_servers(model: str, revision: str | None, place: str, options: dict[str, Any]) -> list[OwnServer]:
    """The servers that this rank starts, or finds started by another. Raises ConfigError if a GPU cannot be theirs."""
    if place == "url":
        return []
    rest = {name: value for name, value in options.items() if name != "gpu"}
    if place == "shared":
        return [OwnServer(model, revision, gpu=gpu_of_rank(), share_gpu=True, **rest)]
    named = options.get("gpu")
    gpus: list[str | None] = [None] if named is None else [word.strip() for word in str(named).split(",")]
    if this_platform() == "gpu":
        _refuse_trained(gpus)
    return [OwnServer(model, revision, gpu=gpu, **rest) for gpu in gpus]


def gpu_of_rank() -> str | None:
    """The GPU that this rank trains on, as CUDA_VISIBLE_DEVICES names it; None on a machine without one."""
    if this_platform() != "gpu":
        return None
    rank, visible = int(os.environ.get("LOCAL_RANK", "0")), visible_gpus()
    return visible[rank] if rank < len(visible) else str(rank)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; none on a machine without one."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(index) for index in range(gpus_of_this_machine())]
    return [gpu for word in named.split(",") if (gpu := word.strip()) and gpu != "-1"]


def _refuse_trained(gpus: list[str | None]) -> None:
    """Raise ConfigError for a GPU of a rank of this machine; without a launcher, which counts them, nothing trains."""
    here = os.environ.get("LOCAL_SIZE") or os.environ.get("LOCAL_WORLD_SIZE") or "0"
    trained = visible_gpus()[: int(here)]
    for gpu in gpus:
        if gpu in trained:
            raise ConfigError(
                f"judge green: server.gpu is {gpu!r}, which is one of the {len(trained)} GPU(s) that train here "
                f"({', '.join(trained)}); the server would take nine tenths of its memory. Set place=shared, or leave "
                "it out of training with CUDA_VISIBLE_DEVICES."
            )
