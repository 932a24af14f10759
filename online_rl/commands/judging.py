"""The commands about judges: `online-rl score` and `online-rl judge-check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from online_rl.commands.arguments import Overrides, config_in


def score(
    judge: Annotated[str, typer.Option(metavar="NAME", help="findings, lc_findings, green, lc_green, file.py:object.")],
    source: Annotated[
        Path, typer.Option("--input", metavar="FILE", help="JSONL or CSV: reference, candidate, study_id.")
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", help="JSONL, one row per pair, in the input's order.")],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="A page with every pair and its errors.")] = None,
    length_control: Annotated[str | None, typer.Option(metavar="RULE", help="lc_green, symmetric ...")] = None,
    args: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument of the judge.")] = None,
    columns: Annotated[list[str] | None, typer.Option(metavar="ROLE=NAME", help="Such as reference=gt.")] = None,
    encoding: Annotated[str | None, typer.Option(metavar="NAME", help="Of the file, such as cp1252.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Texts as written, not cleaned as in training.")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pairs per call.")] = 16,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output of an earlier run.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[scoring.KEY=VALUE]...", help="Calls at once, timeouts, retries.")
    ] = None,
) -> None:
    """Score a file of report pairs with a judge; an interrupted run continues when the command is given again."""
    from rich.console import Console

    from online_rl.commands.score.run import score_file
    from online_rl.commands.score.summary import tables

    options = (args or [], raw, batch, overwrite, overrides or [], columns or [], encoding)
    summary = score_file(judge, source, output, html, length_control, *options)
    for shown in tables(summary):
        Console(highlight=False).print(shown)


def judge_check(
    overrides: Overrides = None,
    judge: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="As in `online-rl score`; otherwise the whole reward of --config."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Its reward, and its held-out reports.")
    ] = None,
    references: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSONL or CSV with the column reference.")
    ] = None,
    ranking: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cases of known order: reference, better, worse[, kind].")
    ] = None,
    ratings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Readers' ratings: reference, candidate, rating.")
    ] = None,
    length_control: Annotated[str | None, typer.Option(metavar="RULE", help="lc_green, symmetric ...")] = None,
    args: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An argument of the judge.")] = None,
    studies: Annotated[int, typer.Option(min=1, help="How many references are tried.")] = 128,
    columns: Annotated[list[str] | None, typer.Option(metavar="ROLE=NAME", help="Such as reference=gt.")] = None,
    encoding: Annotated[str | None, typer.Option(metavar="NAME", help="Of the files, such as cp1252.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="The page; no report text is in it.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Every number.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page of an earlier call.")] = False,
) -> None:
    """Is this judge any good? Edited reports with known truth, cheap strategies, and agreement with readers.

    Needs no labels: the edits are made in your own reference reports. Says what the judge does not see, what it
    punishes for nothing, and where a policy can game it.
    """
    from rich.console import Console

    from online_rl.commands.judge_check.command import check_judge
    from online_rl.commands.judge_check.page import tables

    config, settings = config_in(config, overrides)
    checked = check_judge(
        judge,
        config,
        references,
        ranking,
        ratings,
        length_control,
        args or [],
        studies,
        columns or [],
        encoding,
        json_file,
        html,
        overwrite,
        settings,
    )
    for shown in tables(checked):
        Console(highlight=False).print(shown)
