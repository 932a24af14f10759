"""`online-rl size`: GPU memory per rank, by model and number of GPUs, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from online_rl.commands import roofline
from online_rl.commands.doctor.fitness import Examination
from online_rl.commands.sizing import KNOWN, default_config, table
from online_rl.config import load_config
from online_rl.errors import ConfigError


def as_markdown(rows: list[dict[str, float | str]]) -> str:
    """What `online-rl size` prints and docs/launching.md shows."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join(lines + ["| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows])


def default_table(ranks: Sequence[int]) -> list[dict[str, float | str]]:
    """The known models, and the last of them with adapters."""
    name, shape = list(KNOWN.items())[-1]
    return table(default_config(), KNOWN, ranks) + table(default_config(16), {f"{name}, LoRA of rank 16": shape}, ranks)


def print_table(
    config: Path | None, overrides: Sequence[str], ranks: Sequence[int], gpu: str | None = None, servers: int = 1
) -> None:
    """The command: of the known models, or of the configuration's policy, with the seconds of a step on `gpu`."""
    if config is None:
        if gpu:
            raise ConfigError("--gpu: found without --config, expected both: the seconds are of a run.")
        if overrides:
            raise ConfigError(
                f"{overrides[0]}: found without a configuration, which it would change; expected one before it. Name "
                "it, or remove the setting."
            )
        print(as_markdown(default_table(ranks)))
        return
    cfg = load_config(config, overrides)
    shape = KNOWN.get(cfg.model.path) or Examination(cfg, ranks[0]).shape
    print(as_markdown(table(cfg, {cfg.model.path: shape}, ranks)))
    for count in ranks if gpu else ():
        cfg.check_world(count)
        print(
            f"\n{roofline.as_markdown(roofline.step_parts(shape, cfg, count, str(gpu), servers), cfg, count, str(gpu))}"
        )
