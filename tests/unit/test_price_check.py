"""The price list before the first step: strategies under the run's own judges, beside sampled groups."""

import json

import pytest

from judges.base import Score
from judges.findings import FindingsJudge
from judges.price_list import FINE
from judges.strategies import EMPTY, REFERENCE, TEMPLATE
from online_rl.config import config_from_dict
from online_rl.monitor import Monitor
from online_rl.price_check import PriceCheck
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.scoring import Scorer

NORMAL = "The heart is normal in size. The lungs are clear. No pleural effusion. No pneumothorax."
SICK = "Small left pleural effusion. No pneumothorax."


class Builder:
    def build_all(self, studies, spare=()):
        return [Prompt(study, "", (), (1, 2), {}) for study in studies]


class Engine:
    """Samples nothing of use, then the reference."""

    version = 0

    def generate(self, prompts, step, version, resampled=0):
        stream = [
            Completion(g, i, prompt, (5,), (-0.1,), text, False)
            for g, prompt in enumerate(prompts)
            for i, text in enumerate(("Scoliosis.", prompt.study.reference))
        ]
        return Rollouts(stream, len(prompts), 2, version)


class Picky:
    """A reward of a user's that cannot take an empty report."""

    name = "picky"

    def score(self, cases):
        return [Score(1 / len(case.candidate)) for case in cases]


@pytest.fixture
def price(tmp_path, make_study):
    scorers = []

    def run(judge, **scoring):
        settings = {"run": {"dir": str(tmp_path)}, "rollout": {"group_size": 2}, "scoring": scoring}
        cfg = config_from_dict(settings)
        scorers.append(Scorer([(judge, 1.0)], cfg))
        train = [make_study(f"t{i}", reference=NORMAL if i % 2 else SICK) for i in range(20)]
        held_out = [make_study(f"e{i}", reference=NORMAL if i % 2 else SICK) for i in range(6)]
        monitor = Monitor(tmp_path, 4, enabled=True, tensorboard=False)
        return PriceCheck(cfg, train, held_out, Builder(), Engine(), scorers[-1], monitor).run()

    yield run
    for scorer in scorers:
        scorer.close()


def test_strategies_stand_beside_the_policy_and_its_best(price, tmp_path, capsys):
    listed = price(FindingsJudge())
    assert listed.prices[REFERENCE].mean == 1.0 and listed.prices[EMPTY].mean == 0.0
    # the template on a normal study: all right; on a sick one: 1 of 2 statements, the effusion is missing
    assert listed.prices[TEMPLATE].mean == pytest.approx((1 + 1 / 2) / 2)
    assert listed.policy.best == [1.0] * 6 and listed.policy.mean == [0.5] * 6
    out = capsys.readouterr().out
    assert "your policy, best of 2" in out and "at risk" in out
    kept = json.loads((tmp_path / "prices.json").read_text())
    assert kept["prices"][TEMPLATE]["mean"] == pytest.approx(0.75) and kept["verdicts"] == listed.verdicts()


def test_price_studies_bounds_the_calls_and_0_asks_for_none(price):
    assert price(FindingsJudge(), price_studies=3).prices[EMPTY].n == 3
    assert price(FindingsJudge(), price_studies=0) is None


def test_the_error_of_a_single_study_is_null_and_its_lead_is_none(price, tmp_path):
    listed = price(FindingsJudge(), price_studies=1)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    kept = json.loads((tmp_path / "prices.json").read_text(), parse_constant=refuse)
    assert kept["prices"][REFERENCE] == {"mean": 1.0, "error": None, "studies": 1}
    assert not any(FINE in line for line in listed.verdicts())


def test_a_judge_that_breaks_on_an_odd_report_stops_nothing_and_is_named(price, capsys):
    listed = price(Picky())
    assert EMPTY not in listed.prices and listed.prices[REFERENCE].mean > 0
    assert "judge 'picky' could not price every cheap strategy" in capsys.readouterr().out
