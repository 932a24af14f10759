"""The price list before the first step: cheap strategies compared with the policy, sampled as in training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judges.price_list import PriceList, best_of_groups
from online_rl.config import Config
from online_rl.data.study import Study
from online_rl.monitor import Monitor
from online_rl.ranks import collectives
from online_rl.rollout.prompts import PromptBuilder
from online_rl.scoring import Scorer
from online_rl.scoring.prices import corpus_constants, price_strategies
from online_rl.whole_file import whole_file


def sampled_rewards(
    engine: Any, builder: PromptBuilder, scorer: Scorer, studies: Sequence[Study]
) -> dict[str, list[float | None]]:
    """Study id -> the rewards of a group sampled as in training; a study that was set aside is missing."""
    groups = scorer.score(engine.generate(builder.build_all(list(studies)), 0, engine.version)).groups
    return {group[0].completion.prompt.study.study_id: [c.reward for c in group] for group in groups}


@dataclass
class PriceCheck:
    """Prices strategies on the first `scoring.price_studies` held-out studies, once per run.

    train, studies  training and held-out studies, the same lists on every rank
    """

    cfg: Config
    train: Sequence[Study]
    studies: Sequence[Study]
    builder: PromptBuilder
    engine: Any
    scorer: Scorer
    monitor: Monitor

    def run(self) -> PriceList | None:
        """Price, sample, and tell the monitor; None with `scoring.price_studies: 0` or without studies.

        Every rank takes its share of the studies and returns the whole list.
        """
        priced = self.studies[: self.cfg.eval.studies][: self.cfg.scoring.price_studies]
        if not priced:
            return None
        with self.monitor.phase("pricing cheap strategies"):
            rewards, warnings = self._strategies(priced)
            listed = PriceList(rewards, best_of_groups(self._policy(priced)))
        for warning in warnings:
            self.monitor.warn(warning)
        self.monitor.note(listed.table())
        for verdict in listed.verdicts():
            self.monitor.note(verdict)
        self._keep(listed)
        return listed

    def _strategies(self, priced: Sequence[Study]) -> tuple[dict[str, list[float | None]], list[str]]:
        """Priced on the first rank alone, as rows of other references need all studies; the judges work in parallel."""
        found: tuple[dict[str, list[float | None]], list[str]] = ({}, [])
        with collectives.together():
            if collectives.rank() == 0:
                found = price_strategies(self.scorer, self.cfg, priced, corpus_constants(self.train))
        return collectives.gather(found)[0]

    def _policy(self, priced: Sequence[Study]) -> list[list[float | None]]:
        """The rewards of a group of samples per study, in order; an empty group for a study that was set aside."""
        mine = collectives.every_nth(priced)
        with collectives.together():
            rewards = sampled_rewards(self.engine, self.builder, self.scorer, mine)  # also of none, as in evaluate
        everyone = {study: group for part in collectives.gather(rewards) for study, group in part.items()}
        return [everyone.get(study.study_id, []) for study in priced]

    def _keep(self, listed: PriceList) -> None:
        """`prices.json` in the run folder; it holds no report."""
        if collectives.rank():
            return
        path = Path(self.cfg.run.dir) / "prices.json"
        about = {"prices": listed.as_dict(), "verdicts": listed.verdicts()}
        try:
            with whole_file(path) as partial:
                partial.write_text(json.dumps(about, indent=1) + "\n")
        except OSError as problem:
            self.monitor.warn(f"{path}: the prices cannot be written ({problem.strerror}). Training continues.")
