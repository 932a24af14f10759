"""The vLLM server of a GREEN model: its command and environment in one place, to be run by hand or by a trainer.

    python -m judges.green.server --model MODEL [--port 8000] [--platform cpu|gpu] [...] [-- further vLLM arguments]

`launch/judge_server.sh` is this with the project's environment around it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from judges.green.prompt import MAX_TOKENS

DEFAULT_MODEL = "StanfordAIMI/GREEN-radllama2-7b"
# Speculation from text that stands there already, lossless in greedy decoding: the errors' labels come in the prompt
# and in both lists. Of the five analyses that green_score's own tests hold, a step gives 2.3 tokens instead of one.
NGRAM = '{"method": "ngram", "num_speculative_tokens": 5, "prompt_lookup_min": 2, "prompt_lookup_max": 4}'
# The matched count and the character after it decide the score: decoding may stop there. "1. " may begin a numbered
# list, so the rest of its line is decoded.
STOPS = [
    f"[Matched Findings]:\n{count}.{end}" for count in range(50) for end in (" ", "\n") if (count, end) != (1, " ")
]
SHARE = 0.33  # of a GPU that trains as well
_SHARE_OPTION = "--gpu-memory-utilization"
# What a trainer's environment holds and a server must not take for its own.
_NOT_INHERITED = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "GROUP_RANK", "LOCAL_SIZE"),
    *("CROSS_RANK", "CROSS_SIZE", "VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_CPU_KVCACHE_SPACE"),
)


def server_command(
    model: str,
    *,
    port: int,
    platform: str,
    revision: str | None = None,
    dtype: str | None = None,
    share_gpu: bool = False,
    ngram: bool = True,
    host: str = "127.0.0.1",
    extra: Sequence[str] = (),
) -> list[str]:
    """The command line. `python -m ...`, because the `vllm` command does not start with the CPU build of vLLM.

    platform   "cpu" or "gpu"
    share_gpu  a third of the GPU, and sleep mode, for a GPU that trains as well
    extra      further arguments of vLLM's OpenAI server; they come last and win
    """
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    command += ["--host", host, "--port", str(port), "--max-model-len", str(MAX_TOKENS), "--enable-prefix-caching"]
    command += ["--generation-config", "vllm"]  # nothing of the checkpoint's own sampling settings
    command += ["--revision", revision, "--tokenizer-revision", revision] if revision else []
    command += ["--dtype", dtype or ("bfloat16" if platform == "cpu" else "float16")]
    command += ["--enforce-eager"] if platform == "cpu" else []
    command += ["--enable-sleep-mode", _SHARE_OPTION, str(SHARE)] if share_gpu else []
    command += ["--speculative-config", NGRAM] if ngram else []
    return [*command, *extra]


def share_of_gpu(extra: Sequence[object] = ()) -> float:
    """How much of a GPU a server takes that shares it; `extra`, further arguments of the server, may say otherwise."""
    words = [word for argument in extra for word in str(argument).split("=")]
    return float(words[words.index(_SHARE_OPTION) + 1]) if _SHARE_OPTION in words[:-1] else SHARE


def server_environment(
    inherited: Mapping[str, str], *, platform: str, gpu: str | None = None, share_gpu: bool = False
) -> dict[str, str]:
    """The environment variables: the inherited ones without a launcher's, nothing sent anywhere, the GPU asked for."""
    env = {name: value for name, value in inherited.items() if name not in _NOT_INHERITED}
    env |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    env["VLLM_MAX_STOP_STRINGS"] = str(len(STOPS))  # 4 unless told otherwise
    env.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if platform == "cpu":
        env["VLLM_CPU_KVCACHE_SPACE"] = inherited.get("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
        # vLLM would pin its threads to cores, and keep one core free of them: of two cores, half the speed.
        env.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        openmp = Path(sys.prefix) / "lib" / "libiomp5.so"  # comes with the CPU build of vLLM, which is faster with it
        if openmp.exists() and "LD_PRELOAD" not in inherited:
            env["LD_PRELOAD"] = str(openmp)
    if gpu is not None:
        env["CUDA_VISIBLE_DEVICES"] = gpu
    if share_gpu:
        env["VLLM_SERVER_DEV_MODE"] = "1"  # opens /sleep and /wake_up
    return env


def this_platform() -> str:
    """gpu if vLLM would find one, else cpu; `$ONLINE_RL_PLATFORM` decides if it is set."""
    said = os.environ.get("ONLINE_RL_PLATFORM")
    if said in ("cpu", "gpu"):
        return said
    import torch

    return "gpu" if torch.cuda.is_available() else "cpu"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m judges.green.server", description="Serve a GREEN model to the judge `green`."
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name on the hub, or folder (%(default)s)")
    parser.add_argument("--revision", help="branch, tag or commit on the hub")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s: this machine only)")
    parser.add_argument("--port", type=int, default=8000, help="%(default)s")
    parser.add_argument("--platform", choices=["cpu", "gpu"], help="default: gpu if there is one")
    parser.add_argument("--gpu", metavar="N", help="which GPU, such as 7")
    parser.add_argument("--share-gpu", action="store_true", help="a third of the GPU, and sleep mode")
    parser.add_argument("--dtype", help="default: float16 as GREEN's own code on a GPU, bfloat16 on a CPU")
    parser.add_argument(
        "--ngram",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="n-gram speculation: the same answers, sooner",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the command, start nothing")
    parser.add_argument("extra", nargs="*", metavar="-- ARGUMENT", help="further arguments of vLLM's OpenAI server")
    options = parser.parse_args(arguments)
    platform = options.platform or this_platform()
    command = server_command(
        options.model,
        port=options.port,
        platform=platform,
        revision=options.revision,
        dtype=options.dtype,
        share_gpu=options.share_gpu,
        ngram=options.ngram,
        host=options.host,
        extra=options.extra,
    )
    env = server_environment(os.environ, platform=platform, gpu=options.gpu, share_gpu=options.share_gpu)
    changed = [f"{k}={v}" for k, v in sorted(env.items()) if os.environ.get(k) != v]
    print(shlex.join([*changed, *command]), flush=True)
    if not options.dry_run:
        os.execvpe(command[0], command, env)


if __name__ == "__main__":
    main()
