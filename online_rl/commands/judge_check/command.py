"""`online-rl judge-check`: the judge or the whole reward of a configuration, tried on the user's own references."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from judges.base import Case
from judges.price_list import PriceList
from judges.strategies import Constants, choose_constants
from judges.text import clean_statements, says_nothing
from online_rl import __version__
from online_rl.commands.judge_check.battery import EDITS, Row, battery, read_rows
from online_rl.commands.judge_check.readers import Agreement, Ordered, agreement, ordered, read_ranking, read_ratings
from online_rl.commands.judge_check.verdicts import verdicts
from online_rl.commands.score.html import check_place
from online_rl.commands.score.pairs import Pair, read_pairs
from online_rl.commands.score.run import as_case, judge_config, named_columns
from online_rl.config import Config, load_config
from online_rl.errors import ConfigError, DataError, JudgeError
from online_rl.paths import refuse_overlap
from online_rl.scoring import Scorer
from online_rl.scoring.prices import corpus_constants, reward_cases
from online_rl.scoring.setup import load_judges, make_blend
from online_rl.whole_file import whole_file

FEWEST_FOR_A_CORPUS = 20  # reports beside the tried ones, for a template and a constant to be made of
EVERYTHING = "could not score every report"


@dataclass(frozen=True)
class Checked:
    """What one judge, or one configured reward, was found to do.

    judge     its name, or that of the configuration
    rows      what each edit does
    prices    what the cheap strategies earn
    ordered   ranking cases by kind, if a file was given
    ratings   agreement with readers' ratings, if a file was given
    warnings  judges that gave no answer
    """

    judge: str
    studies: int
    rows: list[Row]
    prices: PriceList
    ordered: list[Ordered]
    ratings: Agreement | None
    warnings: list[str]

    def verdicts(self) -> list[str]:
        return verdicts(self.rows, self.prices)

    def as_dict(self) -> dict[str, Any]:
        """What `--json` holds: no report text."""
        return {
            "version": __version__,
            "judge": self.judge,
            "studies": self.studies,
            "edits": [asdict(row) | {"studies": row.studies, "right": row.right} for row in self.rows],
            "prices": self.prices.as_dict(),
            "ranking": [asdict(row) | {"cases": row.cases} for row in self.ordered],
            "ratings": asdict(self.ratings) if self.ratings else None,
            "verdicts": self.verdicts(),
            "warnings": self.warnings,
        }


def check_judge(
    judge: str | None = None,
    config: Path | None = None,
    references: Path | None = None,
    ranking: Path | None = None,
    ratings: Path | None = None,
    length_control: str | None = None,
    args: Sequence[str] = (),
    studies: int = 128,
    columns: Sequence[str] = (),
    encoding: str | None = None,
    json_file: Path | None = None,
    html: Path | None = None,
    overwrite: bool = False,
    overrides: Sequence[str] = (),
) -> Checked:
    """Try a judge on edited references, cheap strategies and, if there are files, cases that people have ordered.

    judge       what `online-rl score` takes; None = the whole reward of `config`
    references  JSONL or CSV with the column reference; None = the held-out studies of `config`
    ranking     JSONL or CSV: reference, better, worse; optional kind
    ratings     JSONL or CSV: reference, candidate, rating
    studies     how many references at most
    json_file   every number; html the page. Neither holds the text of a report

    Raises UserError. A judge that fails on some report is named in `warnings`; the report has no reward.
    """
    if judge is None and config is None:
        raise ConfigError("--judge: found none, expected a judge, or --config FILE for the whole reward of a run.")
    if references is None and config is None:
        raise ConfigError("--references: found none, expected a file of reports, or --config FILE with its own data.")
    files = {"--references": references, "--ranking": ranking, "--ratings": ratings, "--config": config}
    refuse_overlap(files, {"--json": json_file, "--html": html})
    if html is not None:
        check_place(html, overwrite)
    own = load_config(config, list(overrides)) if config else None
    of_judge = [setting for setting in overrides if setting.startswith("scoring.")] if own else overrides
    cfg = judge_config(judge, length_control, args, of_judge) if judge else own
    assert cfg is not None
    if references:
        cases, patients, constants = _of_file(references, columns, encoding, studies)
    else:
        assert own is not None
        cases, patients, constants = _of_config(own, studies)
    in_order = read_ranking(ranking, encoding) if ranking else []
    rated = read_ratings(ratings, encoding) if ratings else []
    asked: list[Mapping[str, Case]] = [*battery(cases, constants, patients)]
    asked += [{name: _case(pair, pair.columns[name]) for name in ("better", "worse")} for pair in in_order]
    asked += [{"rated": _case(pair, pair.candidate)} for pair, _ in rated]
    rewards, warnings = _rewards(cfg, asked)
    if warnings and all(reward is None for found in rewards for reward in found.values()):
        raise JudgeError(f"{warnings[0]}. Nothing was scored, so nothing is known of the judge.")
    tried, rest = rewards[: len(cases)], rewards[len(cases) :]
    first, last = rest[: len(in_order)], rest[len(in_order) :]
    rows = read_rows(tried)
    strategies = dict.fromkeys(name for found in tried for name in found if name not in EDITS)
    checked = Checked(
        judge=judge or str(config),
        studies=len(cases),
        rows=rows,
        prices=PriceList({name: [found.get(name) for found in tried] for name in strategies}),
        ordered=ordered(
            [pair.columns.get("kind") for pair in in_order], [f["better"] for f in first], [f["worse"] for f in first]
        ),
        ratings=agreement([found["rated"] for found in last], [rating for _, rating in rated]) if rated else None,
        warnings=warnings,
    )
    if json_file is not None:
        _write(json_file, json.dumps(checked.as_dict(), indent=1, allow_nan=False) + "\n")
    if html is not None:
        from online_rl.commands.judge_check.page import page

        _write(html, page(checked))
    return checked


def _rewards(cfg: Config, asked: Sequence[Mapping[str, Case]]) -> tuple[list[dict[str, float | None]], list[str]]:
    judges, guards = load_judges(cfg)
    scorer = Scorer(judges, cfg, guards, make_blend(cfg))
    try:
        scorer.start()
        return reward_cases(scorer, cfg, asked, EVERYTHING)
    finally:
        scorer.close()


def _of_file(
    path: Path, columns: Sequence[str], encoding: str | None, studies: int
) -> tuple[list[Case], list[str], Constants]:
    """Cases, a patient for each, and reports for everybody made of the reports that are not tried."""
    found = read_pairs(path, named_columns(columns), encoding, ("reference",))
    pairs = [pair for pair in found if not says_nothing(pair.reference)]
    if not pairs:
        raise DataError(f"{path}: every reference is empty, so there is nothing to edit.")
    random.Random(0).shuffle(pairs)
    tried, others = pairs[:studies], pairs[studies:]
    corpus = others if len(others) >= FEWEST_FOR_A_CORPUS else pairs
    constants = choose_constants([clean_statements(pair.reference) for pair in corpus])
    return [_case(pair, "") for pair in tried], [pair.study_id or pair.source for pair in tried], constants


def _of_config(cfg: Config, studies: int) -> tuple[list[Case], list[str], Constants]:
    from online_rl.data.draw import draw_by_patient
    from online_rl.data.prompt import study_prompt
    from online_rl.data.readers import read_studies
    from online_rl.demo.prepare import prepare
    from online_rl.scoring.cases import make_case

    found = read_studies(cfg, prepare(cfg).world)
    held_out = found.eval or found.train
    drawn = draw_by_patient(held_out, studies)
    cases = [make_case(study, "", study_prompt(cfg.data.prompt, study), ()) for study in drawn]
    return cases, [study.patient for study in drawn], corpus_constants(found.train)


def _case(pair: Pair, candidate: str) -> Case:
    return as_case(replace(pair, candidate=candidate), raw=False)


def _write(path: Path, text: str) -> None:
    try:
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise DataError(f"{path}: cannot be written ({problem.strerror}). Name another file.") from None
