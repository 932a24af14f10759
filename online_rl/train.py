"""Entry point: `deepspeed --num_gpus N --module online_rl.train --config FILE [section.key=value ...]`.

The module can be called as well: `online_rl.train(config, reward=...)` is `online_rl.api.train`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from online_rl.exits import FAULT, HEAD_START_S, SAID, STOPPED, STOPPED_EARLY, exit_code, run_with_exit_codes
from online_rl.ranks.ancestors import watch_ancestors
from online_rl.ranks.quiet import DEBUG
from online_rl.ranks.signals import end_on_signals

__all__ = ["STOPPED_EARLY", "main", "run"]


def run(config: str | Path, overrides: Sequence[str] = ()) -> int:
    """Train as the configuration says; returns the exit code."""
    from online_rl.api import train
    from online_rl.config import load_config

    cfg = load_config(config, overrides)
    result = train(cfg)
    if result.after is None:
        from online_rl.ranks.stop import code_of_stop

        return code_of_stop()
    return STOPPED if result.alarms and cfg.monitor.stop_on_collapse else 0


def _steps(text: str) -> list[int]:
    """Read `--profile`: numbers between commas."""
    return [int(number) for number in text.split(",")]


def main(
    run: Callable[[str, Sequence[str]], int] = run,
    prog: str = "online_rl.train",
    about: str = "Train a policy online, judge in the loop.",
) -> int:
    """Read the command line of a rank and return the exit code of `run(config, overrides)`."""
    parser = argparse.ArgumentParser(prog=prog, description=about)
    parser.add_argument("--config", metavar="FILE", help="YAML configuration, such as configs/demo_grpo.yaml")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument(
        "--profile", metavar="STEPS", type=_steps, help="trace these steps, such as 3 or 3,8: debug.profile"
    )
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
    if arguments.profile:
        overrides.append(f"debug.profile={arguments.profile}")
    if arguments.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(arguments.local_rank))
    if arguments.debug:
        os.environ[DEBUG] = "1"
    end_on_signals()
    watch_ancestors()
    return run_with_exit_codes(lambda: run(config, overrides), arguments.debug)


class _Callable(ModuleType):
    """This module, which Python binds to the name `online_rl.train`, as the function of that name."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        from online_rl.api import train

        return train(*arguments, **keywords)


sys.modules[__name__].__class__ = _Callable


def _end(code: int) -> NoReturn:
    """End the process: vLLM's and gloo's threads may outlive the interpreter's own shutdown, and other ranks wait."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a closed terminal
            stream.flush()
    os._exit(code)


def to_the_end(main: Callable[[], int] = main) -> NoReturn:
    """Run `main` as the whole of this process, which ends with its exit code."""
    try:
        code = main()
    except SystemExit as end:  # argparse has said what is wrong
        code = end.code if isinstance(end.code, int) else FAULT
    except BaseException as problem:
        code = _tell(problem)
    _end(code)


def _tell(problem: BaseException) -> int:
    """Print what an error that was not foreseen says of the run, and return its exit code.

    When a rank is killed, the others meet some error of a broken connection; what they have to tell is who is missing.
    """
    roll_call = sys.modules.get("online_rl.ranks.roll_call")
    missing = roll_call.sentence_about_missing() if roll_call else ""
    with contextlib.suppress(OSError, ValueError):
        if missing:
            print(f"error: {missing}", file=sys.stderr, flush=True)
        elif not problem.__dict__.get(SAID, False):
            traceback.print_exc()
    if not missing:
        return exit_code(problem)
    time.sleep(HEAD_START_S)  # the launcher takes its exit code from the rank that ended first
    return STOPPED


if __name__ == "__main__":
    to_the_end()
