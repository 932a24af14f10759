"""Prices of cheap strategies under the configured reward, by the run's own judges."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import replace

from judges.base import Case, Score, Status
from judges.strategies import CORPUS, EMPTY, Constants, choose_constants, strategy_cases
from judges.text import clean_statements
from online_rl.config import Config
from online_rl.data.prompt import study_prompt
from online_rl.data.study import Study
from online_rl.errors import JudgeFailed, UserError
from online_rl.scoring.cases import make_case
from online_rl.scoring.scorer import Scorer

Rewards = dict[str, list[float | None]]  # strategy -> one per study


def corpus_constants(train: Sequence[Study]) -> Constants:
    """Reports for everybody from the first training reports; the priced studies are held out, so none is among them."""
    return choose_constants([clean_statements(study.reference) for study in train[: 2 * CORPUS]])


def price_strategies(
    scorer: Scorer, cfg: Config, studies: Sequence[Study], constants: Constants
) -> tuple[Rewards, list[str]]:
    """The reward of every strategy on every study, and warnings. No failure of a judge is raised: training would meet
    it as well, and an odd report, such as an empty one, is no reason to stop a run.

    All answers within `scoring.deadline_s`.
    """
    cases = [make_case(study, "", study_prompt(cfg.data.prompt, study), ()) for study in studies]
    rows = strategy_cases(cases, constants, [study.patient for study in studies])
    asked = [{name: row[i] for name, row in rows.items()} for i in range(len(studies))]
    rewards, warnings = reward_cases(scorer, cfg, asked, "could not price every cheap strategy")
    return {name: [found[name] for found in rewards] for name in rows}, warnings


def reward_cases(
    scorer: Scorer, cfg: Config, studies: Sequence[Mapping[str, Case]], warning: str
) -> tuple[list[dict[str, float | None]], list[str]]:
    """The configured reward of every case, by study and name: None if it could not be scored. And warnings.

    One call per judge and study with all its cases in it, but the empty report, which a judge may fail on.

    warning  what is said of a judge whose answers are missing, such as "could not price every cheap strategy"
    """
    judges = [judge for judge, _ in scorer.judges if judge.name in scorer.blend.needed]
    calls = [
        (i, judge, names, scorer.calls.submit(judge, [_with_ids(cases[name]) for name in names]))
        for i, cases in enumerate(studies)
        for judge in judges
        for names in ([EMPTY] if EMPTY in cases else [], [name for name in cases if name != EMPTY])
        if names
    ]
    scores: list[dict[str, dict[str, Score]]] = [{name: {} for name in cases} for cases in studies]
    deadline, warnings = time.monotonic() + cfg.scoring.deadline_s, dict[str, str]()
    for i, judge, names, future in calls:
        try:
            answers = future.result(max(0.0, deadline - time.monotonic())).scores
        except (FutureTimeout, UserError, JudgeFailed) as problem:
            future.cancel()
            why = "no answer within scoring.deadline_s" if isinstance(problem, FutureTimeout) else str(problem)
            warnings.setdefault(judge.name, f"judge {judge.name!r} {warning}: {why}")
            answers = [Score.failed("")] * len(names)
        for name, answer in zip(names, answers, strict=True):
            scores[i][name][judge.name] = answer
            if answer.status is Status.FAILED and answer.detail:
                warnings.setdefault(judge.name, f"judge {judge.name!r} {warning}: {answer.detail}")
    rewards = [{name: _reward(scorer, given) for name, given in found.items()} for found in scores]
    return rewards, list(warnings.values())


def _reward(scorer: Scorer, scores: dict[str, Score]) -> float | None:
    try:
        return scorer.blend.reward(scores)
    except UserError:  # a gate reads a part that this report did not get
        return None


def _with_ids(case: Case) -> Case:
    """Give it roughly the right number of token ids, since a reward on length may count them."""
    return replace(case, completion_ids=tuple(range(1, 1 + len(case.candidate.split()))))
