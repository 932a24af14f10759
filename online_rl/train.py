"""Entry point: `deepspeed --num_gpus N --module online_rl.train --config FILE [section.key=value ...]`.

The module can be called as well: `online_rl.train(config, reward=...)` is `online_rl.api.train`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from online_rl.exits import STOPPED, run_with_exit_codes
from online_rl.ranks.quiet import DEBUG

STOPPED_EARLY = 75  # saved on request (SIGTERM, train.stop_after); start again with resume=auto


def run(config: str | Path, overrides: Sequence[str] = ()) -> int:
    """Train as the configuration says; returns the exit code."""
    from online_rl.api import train
    from online_rl.config import load_config

    cfg = load_config(config, overrides)
    result = train(cfg)
    if result.after is None:
        return STOPPED_EARLY
    return STOPPED if result.alarms and cfg.monitor.stop_on_collapse else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="online_rl.train", description="Train a policy online, judge in the loop.")
    parser.add_argument("--config", metavar="FILE", help="YAML configuration, such as configs/demo_grpo.yaml")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--local_rank", type=int, default=None, help="set by the deepspeed launcher")
    parser.add_argument(
        "overrides", nargs="*", metavar="[CONFIG] section.key=value", help="the configuration, unless --config names "
        "it, and settings over it",
    )  # fmt: skip
    arguments = parser.parse_intermixed_args()
    config, overrides = arguments.config, list(arguments.overrides)
    if config is None:
        if not overrides or "=" in overrides[0]:
            parser.error("no configuration given; expected CONFIG, such as configs/demo_grpo.yaml, or --config FILE")
        config = overrides.pop(0)
    if arguments.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(arguments.local_rank))
    if arguments.debug:
        os.environ[DEBUG] = "1"
    return run_with_exit_codes(lambda: run(config, overrides), arguments.debug)


class _Callable(ModuleType):
    """This module, which Python binds to the name `online_rl.train`, as the function of that name."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        from online_rl.api import train

        return train(*arguments, **keywords)


sys.modules[__name__].__class__ = _Callable

if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # vLLM's and gloo's threads may outlive the interpreter's own shutdown
