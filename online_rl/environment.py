"""The process as vLLM, DeepSpeed and tokenizers expect it when they are imported."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path


def prepare_environment() -> None:
    """Set what they need for a run; what the user has set stays.

    The same that launch/env.sh sets, for a process that was started without it, such as a notebook's kernel.
    """
    for name, value in {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "TORCH_LOGS": "-torch._library.triton",
        # DeepSpeed compiles its C++ parts once per environment, not into a home that other environments share.
        "TORCH_EXTENSIONS_DIR": str(Path(sys.prefix) / "torch_extensions"),
    }.items():
        os.environ.setdefault(name, value)
    # The compiler's helpers that came with this Python: another ninja would compile DeepSpeed's parts anew.
    own, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if own not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([own, path])
    # torch announces new names of the calls that DeepSpeed and vLLM make; their users can't act on that.
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    if _platform() == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def _platform() -> str:
    """gpu or cpu as launch/env.sh has it: what the user says, else what launch/setup.sh installed for; else ""."""
    installed = Path(sys.prefix) / "platform"
    return os.environ.get("ONLINE_RL_PLATFORM") or (installed.read_text().strip() if installed.is_file() else "")
