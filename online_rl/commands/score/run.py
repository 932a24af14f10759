"""The run behind `online-rl score`: pairs in, scores out, in order, resumable."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from judges.base import Case, Judge, Score, Status
from judges.identity import identify
from judges.length import verbosity
from judges.registry import JUDGES, load_judge
from judges.text import clean_statements, says_nothing, without_surrogates
from online_rl import __version__
from online_rl.commands.score.html import check_place, write_page
from online_rl.commands.score.journal import Journal, Row
from online_rl.commands.score.pairs import Pair, adjacent, read_pairs
from online_rl.commands.score.summary import Summary, summarise
from online_rl.config import Config, config_from_dict
from online_rl.config.load import apply_override
from online_rl.config.model import Scoring
from online_rl.errors import ConfigError, JudgeFailed, UserError
from online_rl.paths import code_file, refuse_overlap
from online_rl.scoring.calls import Answer, Calls, out_of_reach

ASYNC_CALLS = 64  # in flight at once, unless scoring.workers is given


def score_file(
    judge: str,
    source: Path,
    output: Path,
    html: Path | None = None,
    length_control: str | None = None,
    args: Sequence[str] = (),
    raw: bool = False,
    batch: int = 16,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
    columns: Sequence[str] = (),
    encoding: str | None = None,
) -> Summary:
    """Score every pair of `source`; write `output` (JSONL) and, where asked for, the page `html`.

    judge      what `judges: [{use: ...}]` names; lc_X is X under the length rule lc_green
    args       key=value, arguments of the judge
    raw        give the judge the texts as written, instead of cleaned as in training
    batch      pairs per call; a judge of whole groups gets the neighbouring rows of a study instead
    overrides  scoring.<key>=value: calls in flight, timeouts, retries
    columns    reference=NAME and the like, for files with other names
    encoding   None = by the BOM, else UTF-8

    Raises UserError for a bad row, judge or file, JudgeFailed for a judge out of reach. What has been scored then is
    kept, and the same call continues from there.
    """
    cfg = judge_config(judge, length_control, args, overrides)
    entry = cfg.judges[0]
    refuse_overlap(
        {"--input": source, "--judge": code_file(entry.use)} | _files_among(entry.args),
        {"--output": [output, *Journal.beside(output)], "--html": html},
    )
    pairs = read_pairs(source, named_columns(columns), encoding)
    if html is not None:
        check_place(html, overwrite)
    loaded = load_judge(entry.use, entry.args, entry.length_control, judge)
    of = {
        "rows": len(pairs),
        **_fingerprint(source, cfg, loaded, raw),
        "columns": sorted(columns),
        "encoding": encoding,
    }
    journal = Journal(output, of, overwrite, overwrite)
    try:
        _score_pairs(loaded, _options(cfg, loaded, overrides), pairs, journal, raw, batch)
        rows = journal.finish()
    except (UserError, JudgeFailed, KeyboardInterrupt):
        if journal.rows:
            kept = f"{len(journal.rows)} of {len(pairs)} pairs are scored and kept in {journal.partial}"
            print(f"{kept}; the same command continues from there.", file=sys.stderr, flush=True)
        raise
    finally:
        journal.close()
    summary = summarise(rows)
    if html is not None:
        write_page(html, without_surrogates(judge), without_surrogates(source.name), pairs, rows, summary)
    return summary


def _files_among(args: Mapping[str, Any]) -> dict[str, Path | None]:
    """Arguments of a judge that name a file that is there."""
    named = {key: Path(os.path.expanduser(value)) for key, value in args.items() if isinstance(value, str)}
    return {f"--args {key}": path for key, path in named.items() if path.is_file()}


def judge_config(judge: str, length_control: str | None, args: Sequence[str], overrides: Sequence[str]) -> Config:
    """The judge and how it is called as a configuration, so that every rule about judges holds here too."""
    if length_control == "target_band":
        raise ConfigError(
            "--length-control: found target_band, which adapts from step to step of a training; a file has one length. "
            "Expected lc_green, symmetric or soft_overlong."
        )
    use, rule = use_and_rule(judge, length_control)
    own: dict[str, Any] = {}
    for argument in args:
        apply_override(own, argument)
    data: dict[str, Any] = {"judges": [{"use": use, "length_control": rule, "args": own}]}
    for override in overrides:
        if not override.startswith("scoring."):
            raise ConfigError(f"{override!r}: expected scoring.<key>=value here, such as scoring.workers=16.")
        apply_override(data, override)
    return config_from_dict(data)


def use_and_rule(judge: str, length_control: str | None = None) -> tuple[str, str]:
    """`use` and `length_control` by a short name: lc_X is X under lc_green, unless a judge is called lc_X."""
    if not judge.startswith("lc_") or ":" in judge or judge in JUDGES.names():
        return judge, length_control or "none"
    if length_control not in (None, "lc_green"):
        raise ConfigError(
            f"--length-control: found {length_control} beside --judge {judge}, which means lc_green already. Write "
            f"--judge {judge.removeprefix('lc_')} --length-control {length_control}."
        )
    return judge.removeprefix("lc_"), "lc_green"


def named_columns(columns: Sequence[str]) -> dict[str, str]:
    """reference=gt as {"reference": "gt"}."""
    for column in columns:
        if "=" not in column.strip("="):
            raise ConfigError(f"--columns: found {column!r}, expected ROLE=NAME, such as reference=gt.")
    return dict(column.split("=", 1) for column in columns)  # type: ignore[misc]


def _options(cfg: Config, judge: Judge, overrides: Sequence[str]) -> Scoring:
    """An async judge waits for a server, which is fastest with many calls at once; nothing else is running here."""
    own = any(override.startswith("scoring.workers=") for override in overrides)
    if own or not inspect.iscoroutinefunction(judge.score):
        return cfg.scoring
    return cfg.scoring.model_copy(update={"workers": ASYNC_CALLS})


def _fingerprint(source: Path, cfg: Config, judge: Judge, raw: bool) -> dict[str, Any]:
    """What the scores depend on; a journal of anything else is not gone on with."""
    entry = cfg.judges[0]
    return {
        "input": hashlib.sha256(source.read_bytes()).hexdigest(),
        "judge": entry.use,
        "judge's code and arguments": identify(judge, entry.use, entry.args).hash,
        "length control": entry.length_control,
        "args": entry.args,
        "raw": raw,
        "version": __version__,
    }


def _score_pairs(judge: Judge, options: Scoring, pairs: list[Pair], journal: Journal, raw: bool, batch: int) -> None:
    calls = Calls(options)
    waiting: dict[Future[Answer], list[int]] = {}
    try:
        calls.start(judge)
        with _progress(judge.name, len(pairs), journal.rows.values()) as advance:
            todo = _calls_to_make(judge, pairs, journal, raw, batch, advance)
            more = True
            while more or waiting:
                while more and len(waiting) < options.workers:
                    call = next(todo, None)
                    more = call is not None
                    if call:
                        waiting[calls.submit(judge, call[1])] = call[0]
                done, _ = wait(waiting, options.deadline_s, FIRST_COMPLETED)
                if waiting and not done:
                    raise JudgeFailed(
                        f"judge {judge.name!r} gave no answer within scoring.deadline_s={options.deadline_s:g} s. "
                        "Check the judge, or raise the deadline, and give the same command again."
                    )
                for future in done:
                    places = waiting.pop(future)
                    scores = future.result().scores
                    _check_reached(judge, options, scores)
                    rows = [_row(pairs[place], score, raw) for place, score in zip(places, scores, strict=True)]
                    journal.add(places, rows)
                    advance(rows)
    finally:
        calls.close_judge(judge)
        calls.close()


def _calls_to_make(
    judge: Judge, pairs: list[Pair], journal: Journal, raw: bool, batch: int, advance: Any
) -> Iterator[tuple[list[int], list[Case]]]:
    """Places and cases of each call. Pairs without a reference report are no judge's business: unscorable at once."""
    whole = getattr(judge, "granularity", "completion") == "group"
    for places in adjacent(pairs, batch, whole):
        if all(place in journal.rows for place in places):
            continue
        empty = [place for place in places if says_nothing(pairs[place].reference) and place not in journal.rows]
        if empty:
            none = Score.unscorable("the reference report is empty")
            rows = [_row(pairs[place], none, raw) for place in empty]
            journal.add(empty, rows)
            advance(rows)
        asked = [p for p in places if not says_nothing(pairs[p].reference) and (whole or p not in journal.rows)]
        if asked:
            yield asked, [as_case(pairs[place], raw) for place in asked]


def as_case(pair: Pair, raw: bool) -> Case:
    """What a judge sees of a pair: the texts as written if `raw`, else cleaned as in training."""
    candidate, reference = _texts(pair, raw)
    return Case(
        study_id=pair.study_id or pair.source,
        candidate=candidate,
        reference=reference,
        indication=pair.indication,
        columns=pair.columns,
        raw_candidate=pair.candidate,
        raw_reference=pair.reference,
    )


def _texts(pair: Pair, raw: bool) -> tuple[str, str]:
    if raw:
        return pair.candidate, pair.reference
    return clean_statements(pair.candidate), clean_statements(pair.reference)


def _check_reached(judge: Judge, options: Scoring, scores: Sequence[Score]) -> None:
    if any(s.status is Status.FAILED for s in scores):
        message = str(out_of_reach(judge, scores, options))
        message = message.replace(" cases ", " pairs ", 1)
        raise JudgeFailed(message.replace("start again with resume=auto", "give the same command again")) from None


def _row(pair: Pair, score: Score, raw: bool) -> Row:
    """One line of the output. `detail` is the judge's analysis, or why it could not score."""
    parts = dict(score.parts)
    candidate, reference = _texts(pair, raw)
    if reference.split():
        parts.setdefault("verbosity", verbosity(candidate, reference))
    own = {} if pair.study_id is None else {"study_id": pair.study_id}
    return {
        **own,
        "score": score.value,
        "status": score.status.value,
        "parts": parts,
        "detail": without_surrogates(score.detail),
    }


@contextmanager
def _progress(name: str, total: int, done: Any) -> Iterator[Any]:
    """A bar on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unscorable]} unscorable"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        count = {"unscorable": 0}
        task = bar.add_task(name, total=total, unscorable=0)

        def advance(rows: Sequence[Row]) -> None:
            count["unscorable"] += sum(row["score"] is None for row in rows)
            bar.update(task, advance=len(rows), unscorable=count["unscorable"])

        advance(list(done))
        yield advance
