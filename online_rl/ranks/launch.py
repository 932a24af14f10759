"""How many ranks a run on this machine gets: launch/single_node.sh starts as many, and the doctor examines them."""

from __future__ import annotations

import os
import re

from online_rl.errors import ConfigError
from online_rl.exits import run_with_exit_codes


def ranks_here() -> int:
    """RANKS if it is set, else one per GPU, else 2, or 1 on a single core."""
    given, available = os.environ.get("RANKS", ""), gpus()
    if not given:
        return available or min(2, len(os.sched_getaffinity(0)))
    if not re.fullmatch("[1-9][0-9]*", given):
        raise ConfigError(f"RANKS is '{given}'; expected a whole number of at least 1.")
    if available and int(given) > available:
        raise ConfigError(f"RANKS is {given}, but there are {available} GPUs.")
    return int(given)


def several_machines() -> bool:
    """Whether the launcher (deepspeed, torchrun) started ranks on other machines too."""
    return started_here() != int(os.environ.get("WORLD_SIZE", "1"))


def several_ranks() -> bool:
    """Whether a launcher started more than this process."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def started_here() -> int:
    """Ranks that the launcher started on this machine."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    return int(os.environ.get("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", ranks)))


def gpus() -> int:
    """GPUs that torch sees; none where launch/env.sh found, or was told, to use the CPU."""
    if on_cpu():
        return 0
    import torch

    return torch.cuda.device_count()


def on_cpu() -> bool:
    return os.environ.get("DS_ACCELERATOR") == "cpu"


def main() -> None:
    if not on_cpu() and not gpus():
        raise ConfigError(
            "torch sees no GPU here; see nvidia-smi and CUDA_VISIBLE_DEVICES, or set ONLINE_RL_PLATFORM=cpu."
        )
    print(ranks_here())


if __name__ == "__main__":
    raise SystemExit(run_with_exit_codes(main))
