"""Judges are tried on the data's own reference reports, whatever language they are in, before a model loads."""

from __future__ import annotations

import pytest

from online_rl.config import config_from_dict
from online_rl.errors import JudgeError
from online_rl.scoring import Scorer
from online_rl.scoring.setup import load_judges, make_blend
from online_rl.scoring.tryout import references_that_judges_cannot_score, spread

ENGLISH = "Small left pleural effusion. No pneumothorax."
SPANISH = "Derrame pleural izquierdo. Sin signos de fallo cardiaco."
GERMAN = "Kein Pleuraerguss. Herz normal groß."
OWN = """
from judges.base import Score

class Spanish:
    name = "spanish"
    def score(self, cases):
        return [Score(1.0) if "derrame" in c.candidate.lower() else Score.unscorable(c.reference) for c in cases]

def asked(prompts, **columns):
    assert prompts[0] in ("Report of s0.", "Report of s1.")
    return [1.0 for _ in prompts]

def relative(completions, **columns):
    return [None if len(completions) < 2 else 1.0 for _ in completions]

def one_study(completions, reference, **columns):
    assert len(set(reference)) == 1
    return [1.0 for _ in completions]
"""


@pytest.fixture
def tried(tmp_path, make_study):
    (tmp_path / "own.py").write_text(OWN)

    def tried(reports, use="findings", guards=(), data=None, **scoring):
        use = use if use == "findings" else f"{tmp_path / 'own.py'}:{use}"
        guards = [{"use": guard, "name": "g"} for guard in guards]
        judges = [{"use": use, "name": "j"}]
        cfg = config_from_dict({"judges": judges, "guards": guards, "scoring": scoring, "data": data or {}})
        judges, watching = load_judges(cfg)
        scorer = Scorer(judges, cfg, watching, make_blend(cfg))
        try:
            scorer.start()
            studies = [make_study(f"s{i}", reference=report) for i, report in enumerate(reports)]
            return references_that_judges_cannot_score(scorer, studies, cfg)
        finally:
            scorer.close()

    return tried


@pytest.mark.parametrize("report", [SPANISH, GERMAN, "Unchanged.", "Siehe Voraufnahme vom 3.4."])
def test_reports_that_the_judge_cannot_read_stop_the_run_before_it_begins(tried, report):
    with pytest.raises(JudgeError) as refused:
        tried([report] * 40)
    message = str(refused.value)
    assert "'j' cannot score 16 of 16 reference reports of the data" in message
    assert "scoring.max_unscorable_rate=0.5" in message and "language" in message and "states nothing that" in message
    assert not any(word in message for word in report.rstrip(".").split()[:2])


def test_a_few_are_a_warning_and_a_guard_never_stops_a_run(tried):
    assert tried([ENGLISH] * 5) == []
    [warning] = tried([ENGLISH] * 3 + [SPANISH])
    assert "'j' cannot score 1 of 4 reference reports" in warning
    [warning] = tried([SPANISH] * 4, use="Spanish", guards=["findings"])
    assert "'g' cannot score 4 of 4" in warning
    assert "1 of 4" in tried([ENGLISH] * 3 + [SPANISH], max_unscorable_rate=0.3)[0]
    with pytest.raises(JudgeError, match="1 of 4"):
        tried([ENGLISH] * 3 + [SPANISH], max_unscorable_rate=0.2)


def test_the_reason_of_a_judge_that_is_not_ours_may_quote_a_report_and_is_kept_back(tried):
    with pytest.raises(JudgeError) as refused:
        tried([ENGLISH] * 3, use="Spanish")
    assert "3 of 3" in str(refused.value) and "effusion" not in str(refused.value).lower()


def test_a_reward_function_gets_one_study_at_a_time(tried):
    assert tried([ENGLISH, SPANISH, GERMAN], use="one_study") == []


@pytest.mark.parametrize("count", [1, 5])
def test_a_reward_that_needs_a_group_gets_one(tried, count):
    assert tried([ENGLISH] * count, use="relative") == []


def test_the_prompt_is_that_of_training(tried, tmp_path):
    (tmp_path / "ask.py").write_text("def ask(study):\n    return f'Report of {study.study_id}.'\n")
    assert tried(["Edema.", "Effusion."], use="asked", data={"prompt": f"{tmp_path / 'ask.py'}:ask"}) == []


def test_studies_are_spread_over_the_data():
    assert spread(range(160))[:3] == [0, 10, 20] and len(spread(range(160))) == 16
    assert spread(range(3)) == [0, 1, 2]
