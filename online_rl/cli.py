"""The command line `online-rl`. Heavy imports wait inside the commands, so that --help answers at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from online_rl import __version__
from online_rl.commands import judging
from online_rl.commands.arguments import ConfigFile, Overrides, Settings, config_in
from online_rl.commands.demo import demo_app
from online_rl.exits import run_with_exit_codes
from online_rl.ranks.quiet import DEBUG

app = typer.Typer(
    name="online-rl",
    help="Online RL for chest X-ray reports: sample with vLLM, score with judges, update with DeepSpeed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
config_app = typer.Typer(help="Look at configurations.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.add_typer(demo_app, name="demo")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"online-rl {__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; anywhere on the line.")
    ] = False,
) -> None:
    """Every command reads its configuration and settings over it, as train CONFIG rollout.group_size=4."""


@config_app.command("check")
def check(
    overrides: Overrides = None,
    config: ConfigFile = None,
    world_size: Annotated[
        int | None, typer.Option(min=1, help="Ranks that the run will have; otherwise as few as it can.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Print every key with its value.")] = False,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Do not look for its files and judges: they are on another machine.")
    ] = False,
) -> None:
    """Check a configuration, and that what it names is there, without loading a model or running your code."""
    from online_rl.commands.check import missing_places
    from online_rl.config import load_config
    from online_rl.errors import ConfigError

    file, settings = config_in(config, overrides, needed=True)
    assert file is not None
    cfg = load_config(file, settings)
    cfg.check_world(world_size or cfg.rollout.tensor_parallel_size)
    if not elsewhere and (missing := missing_places(cfg)):
        heading = f"{file} names what is not there. On another machine than the one it is for, add --elsewhere."
        raise ConfigError("\n\n".join([heading, *missing]))
    typer.echo(cfg.resolved_yaml() if full else cfg.summary())
    for warning in cfg.warnings():
        typer.echo(f"warning: {warning}", err=True)
    typer.echo("ok")


@app.command("train")
def train(
    overrides: Overrides = None,
    config: ConfigFile = None,
    profile: Annotated[str, typer.Option(metavar="STEPS", help="Trace these steps, such as 3 or 3,8.")] = "",
) -> None:
    """Train on one rank. For several: deepspeed --num_gpus N --module online_rl.train CONFIG."""
    from online_rl.train import run

    file, settings = config_in(config, overrides, needed=True)
    assert file is not None
    settings = [*settings, f"debug.profile=[{profile}]"] if profile else settings
    raise typer.Exit(run(file, settings) or 0)


@app.command("sft")
def sft(overrides: Overrides = None, config: ConfigFile = None) -> None:
    """Fine-tune on reference reports, on one rank: the stage before `train`, which continues by model.path=run:RUN.

    For several ranks: deepspeed --num_gpus N --module online_rl.sft CONFIG.
    """
    from online_rl.sft import run

    file, settings = config_in(config, overrides, needed=True)
    assert file is not None
    raise typer.Exit(run(file, settings) or 0)


@app.command("plot")
def plot(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; several are drawn side by side.")],
    html: Annotated[bool, typer.Option("--html", help="Also write one self-contained report.html.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Otherwise RUN/plots; for several, comparison."),
    ] = None,
) -> None:
    """Draw the curves of a run, or of several runs side by side."""
    from online_rl.commands.plot import plot

    for path in plot(runs, html, output, note=lambda line: typer.echo(f"note: {line}", err=True)):
        typer.echo(path)


@app.command("export")
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN|CHECKPOINT", help="Run folder, or its checkpoints/step-N.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="New or empty folder.")],
    without_vllm: Annotated[
        bool, typer.Option("--without-vllm", help="Leave out the trial by vLLM; the model card says so.")
    ] = False,
) -> None:
    """Write a checkpoint as a Hugging Face folder, compared with the checkpoint and test-loaded, with a model card."""
    from online_rl.commands.export import export

    path = export(source, output, with_vllm=not without_vllm, say=lambda line: typer.echo(line, err=True))
    typer.echo(path)


@app.command("doctor")
def doctor(
    overrides: Overrides = None,
    config: ConfigFile = None,
    world_size: Annotated[
        int | None, typer.Option(min=1, help="Ranks of the run; otherwise as launch/single_node.sh starts.")
    ] = None,
    policy: Annotated[
        bool, typer.Option("--policy", help="Load the policy too, and price its own reports beside cheap strategies.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Examine machine, configuration, data and judges. Exit code 2 if something would stop a run."""
    import json

    from online_rl.commands.doctor import report

    config, settings = config_in(config, overrides)
    findings = report.examine(config, settings, world_size, policy)
    typer.echo(json.dumps(report.as_json(findings), indent=1) if as_json else report.as_text(findings))
    raise typer.Exit(0 if report.is_well(findings) else 2)


@app.command("size")
def size(
    overrides: Overrides = None,
    config: ConfigFile = None,
    gpus: Annotated[list[int] | None, typer.Option(min=1, help="GPUs; more than once for several rows.")] = None,
    gpu: Annotated[
        str | None, typer.Option(help="Seconds per part of a step as well: a100, h100 or h200; cpu with --like.")
    ] = None,
    servers: Annotated[int, typer.Option(min=1, help="Judge servers, with --gpu; not read with --like.")] = 1,
    like: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Scale the seconds by what this run took, which was on the same kind of GPU."),
    ] = None,
) -> None:
    """Compute GPU memory by model and number of GPUs, in GiB per GPU. With --config, of that policy and run."""
    from online_rl.commands.size import print_table

    config, settings = config_in(config, overrides)
    print_table(config, settings, gpus or (), gpu, servers, like)


@app.command("eval")
def evaluate(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="POLICY",
            help="RUN, RUN/checkpoints/step-N, a model folder, `start` (what model.path names), or kept results.",
        ),
    ],
    overrides: Settings = None,
    against: Annotated[
        str | None, typer.Option(metavar="POLICY", help="Compare with this one on the same studies; as above.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="YAML configuration; otherwise the run's own.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, eval (or validation, dev), test.")] = "eval",
    judge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="May be given several times: a judge of the config, or findings, lc_green, file.py:object. Otherwise "
            "the config's judges and guards.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Otherwise eval/SPLIT in the run folder, or here."),
    ] = None,
    studies: Annotated[int | None, typer.Option(min=1, help="How many of the split, drawn by patient.")] = None,
    reports: Annotated[
        bool,
        typer.Option("--reports", help="Keep reference and candidate in scores.jsonl; otherwise no text is written."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of another evaluation.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every number and interval there as well.")
    ] = None,
    image_check: Annotated[
        bool, typer.Option("--image-check", help="Write reports on other patients' images as well, and compare.")
    ] = False,
    table: Annotated[
        str | None, typer.Option(metavar="paper", help="Also write paper.md, paper.tex and paper.csv.")
    ] = None,
    rexrank: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the reports as ReXrank's submission.")
    ] = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that share the studies, each on a GPU of its own; otherwise one per GPU."),
    ] = None,
) -> None:
    """Greedy reports of a policy for a split, scored, with 95 % intervals; two policies compared study by study.

    An interrupted evaluation continues when the command is given again; finished results are kept as they are.
    """
    from rich.console import Console

    from online_rl.commands.eval.command import evaluate_policies
    from online_rl.commands.eval.table import tables

    report = evaluate_policies(
        policy,
        against,
        config,
        split,
        judge or [],
        output,
        studies,
        reports,
        overwrite,
        overrides or [],
        json_file,
        image_check,
        table,
        rexrank,
        processes,
        say=lambda line: typer.echo(line, err=True),
    )
    console = Console(highlight=False)
    for shown in tables(report, console.width):
        console.print(shown)


@app.command("eval-vqa")
def evaluate_vqa(
    policy: Annotated[
        str, typer.Argument(metavar="POLICY", help="As in `online-rl eval`, or a folder of answers of this command.")
    ],
    overrides: Overrides = None,
    questions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMAT=FILE", help="chexbench, rexvqa, vqa_rad, slake or demo; may be given several times."
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="POLICY", help="Compare with this one, question by question.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="YAML configuration; otherwise the run's own.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Start of image paths; default: the file's folder."),
    ] = None,
    split: Annotated[str, typer.Option(help="Of vqa_rad, whose file holds both: test, or train.")] = "test",
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 32,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Otherwise eval/vqa in the run folder or here."),
    ] = None,
    texts: Annotated[bool, typer.Option("--texts", help="Keep what the policy said in answers.jsonl.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace answers to other questions.")] = False,
) -> None:
    """Closed questions about X-rays, answered greedily and read strictly: accuracy by source and task.

    Give the same command again to continue an interrupted call.
    """
    from rich.console import Console

    from online_rl.commands.vqa.command import evaluate_vqa, tables

    config, settings = config_in(config, overrides)
    report = evaluate_vqa(
        policy,
        questions or [],
        against,
        config,
        images,
        split,
        max_tokens,
        output,
        texts,
        overwrite,
        settings,
        say=lambda line: typer.echo(line, err=True),
    )
    for shown in tables(report):
        Console(highlight=False).print(shown)


app.command("score")(judging.score)
app.command("judge-check")(judging.judge_check)

for _group in (app, config_app, demo_app):
    for _command in _group.registered_commands:
        _command.epilog = "--debug shows the traceback of an error."


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; errors become one paragraph on stderr and an exit code (see exits.py)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be UTF-8
    arguments = [argument for argument in arguments if argument != "--debug"]
    before = os.environ.get(DEBUG)
    if debug:
        os.environ[DEBUG] = "1"  # for what the command starts
    try:
        return run_with_exit_codes(lambda: _run(arguments), debug)
    finally:
        if debug:
            os.environ.pop(DEBUG)
            os.environ.update({} if before is None else {DEBUG: before})


def _run(arguments: list[str]) -> int:
    try:
        app(arguments, prog_name="online-rl")
    except SystemExit as end:  # typer's way to end: 0, or 2 for a misspelt option that it has explained already
        return end.code if isinstance(end.code, int) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
