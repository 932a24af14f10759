"""Entry point of the supervised stage: `deepspeed --num_gpus N --module online_rl.sft --config FILE [key=value ...]`.

It takes the configuration of online training. Its run folder is `run.dir` with -sft behind it, unless the command line
names one by run.dir=...; online training continues from it by model.path=run:FOLDER.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from online_rl.train import main, to_the_end


def run(config: str | Path, overrides: Sequence[str] = ()) -> int:
    """Fine-tune on reference reports as the configuration says; returns the exit code."""
    from online_rl.config import load_config
    from online_rl.config.supervised import stage_folder
    from online_rl.environment import prepare_environment
    from online_rl.ranks.process import sole_run

    named = any(setting.partition("=")[0].strip() == "run.dir" for setting in overrides)
    folder = stage_folder(load_config(config, overrides).run.dir, named)
    cfg = load_config(config, [*overrides, f"run.dir={_quoted(folder)}"])  # with the rules about what lies in it
    with sole_run():
        prepare_environment()
        from online_rl.ranks.stop import code_of_stop
        from online_rl.supervised.build import train_supervised

        return code_of_stop() if train_supervised(cfg) is None else 0


def _quoted(text: str) -> str:
    """The text as YAML reads it back."""
    return "'" + text.replace("'", "''") + "'"


if __name__ == "__main__":
    to_the_end(lambda: main(run, "online_rl.sft", "Fine-tune a policy on reference reports, before online training."))
