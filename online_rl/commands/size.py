"""`online-rl size`: GPU memory per rank, by model and number of GPUs, as a Markdown table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from online_rl.commands import measured, roofline
from online_rl.commands.doctor.fitness import Examination
from online_rl.commands.sizing import GPUS, KNOWN, Shape, default_config, table
from online_rl.config import Config, load_config
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
    config: Path | None,
    overrides: Sequence[str],
    gpus: Sequence[int] = (),
    gpu: str | None = None,
    servers: int = 1,
    like: Path | None = None,
) -> None:
    """The command: of the known models, or of the configuration's policy, with the seconds of a step on `gpu`.

    gpus  how many; () = GPUS, without the counts that the configuration's step cannot be shared out to
    like  a run on such a machine, whose measured seconds scale the computed ones
    """
    ranks = gpus or GPUS
    if like and not gpu:
        raise ConfigError("--like: found without --gpu, expected both. Name the GPU that the run was on, or cpu.")
    if gpu == roofline.CPU and not like:
        raise ConfigError(
            "--gpu: found cpu without --like, expected a run on this machine to measure it by: CPUs differ too much "
            "for a table. Train a few steps of any configuration here, and name its folder with --like."
        )
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
    if gpu:
        ranks = _checked(cfg, gpus) if gpus else _fitting(cfg, ranks)
    else:
        ranks = _shared_by_engines(cfg, gpus) if gpus else _sharing(cfg, ranks)
    shape = _shape(cfg, ranks[0])
    print(as_markdown(table(cfg, {cfg.model.path: shape}, ranks)))
    if not gpu:
        return
    run = measured.read(like) if like else None
    its_shape = _shape(run.cfg, run.ranks) if run else shape
    lengths = run.lengths_of(cfg) if run else None
    for count in ranks:
        if run:
            parts = measured.step_parts(shape, cfg, count, gpu, run, its_shape)
        else:
            parts = roofline.step_parts(shape, cfg, count, gpu, servers)
        print(f"\n{roofline.as_markdown(parts, cfg, count, gpu, str(like or ''), lengths)}")


def _shape(cfg: Config, ranks: int) -> Shape:
    return KNOWN.get(cfg.model.path) or Examination(cfg, ranks).shape


def _sharing(cfg: Config, counts: Sequence[int]) -> Sequence[int]:
    """Those counts of GPUs that engines can be shared by; where none is, the fewest."""
    size = cfg.rollout.tensor_parallel_size
    return [count for count in counts if count % size == 0] or [size]


def _shared_by_engines(cfg: Config, counts: Sequence[int]) -> Sequence[int]:
    size = cfg.rollout.tensor_parallel_size
    for count in counts:
        if count % size:
            raise ConfigError(
                f"--gpus: found {count}, expected a multiple of rollout.tensor_parallel_size={size}, the number of "
                "GPUs that share an engine."
            )
    return counts


def _checked(cfg: Config, counts: Sequence[int]) -> Sequence[int]:
    for count in counts:
        cfg.check_world(count)
    return counts


def _fitting(cfg: Config, counts: Sequence[int]) -> Sequence[int]:
    """Those of the default counts that a run could have, with a note of the others. Raises ConfigError if none is."""
    problems: dict[int, ConfigError] = {}
    for count in counts:
        try:
            cfg.check_world(count)
        except ConfigError as problem:
            problems[count] = problem
    if len(problems) == len(counts):
        raise problems[counts[0]]
    for count, why in problems.items():
        print(f"note: {count} GPUs are left out. {why}", file=sys.stderr)
    return [count for count in counts if count not in problems]
