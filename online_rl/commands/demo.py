"""`online-rl demo`: preparing the demo's world and policy, and making the policies that the package ships."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from online_rl.commands.arguments import ConfigFile, Overrides, config_in

demo_app = typer.Typer(help="The demo: a made-up world and a small policy, for any laptop.", no_args_is_help=True)


@demo_app.command("prepare")
def demo_prepare(
    overrides: Overrides = None,
    config: ConfigFile = None,
) -> None:
    """Draw the demo's studies and unpack its policy, once; later runs find both in the cache."""
    from online_rl.config import config_from_dict, load_config
    from online_rl.config.load import apply_override

    config, settings = config_in(config, overrides)
    if config is not None:
        cfg = load_config(config, settings)
    else:
        data: dict = {}
        for override in settings:
            apply_override(data, override)
        cfg = config_from_dict(data)
    from online_rl.demo.prepare import prepare

    prepare(cfg)


@demo_app.command("make-policy")
def demo_make_policy(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Where they go, over what is there; the package ships online_rl/demo/policies."
        ),
    ],
    workers: Annotated[int, typer.Option(help="Processes that draw.")] = 2,
    threads: Annotated[int, typer.Option(help="Threads that train; another number gives other bytes.")] = 1,
) -> None:
    """Make the two policies that the package ships, from scratch; takes most of an hour."""
    from online_rl.demo.make_policy import make_and_report

    make_and_report(folder, workers, threads, typer.echo)
