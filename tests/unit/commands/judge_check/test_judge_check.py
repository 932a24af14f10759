"""`online-rl judge-check`: what it says of judges whose faults are known, on reports that are written here."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from judges.edits import HARMFUL
from judges.price_list import PriceList
from judges.strategies import REFERENCE, REPEATED, TEMPLATE
from online_rl.cli import main
from online_rl.commands.judge_check.battery import Row, edited, read_rows
from online_rl.commands.judge_check.command import check_judge
from online_rl.commands.judge_check.page import FINE, page, tables
from online_rl.commands.judge_check.readers import agreement, ordered
from online_rl.commands.judge_check.verdicts import verdicts
from online_rl.errors import JudgeError

FINDINGS = ("Small left pleural effusion.", "Moderate right pleural effusion.", "Mild cardiomegaly.",
            "Large right pneumothorax.", "9 mm nodule in the left upper lobe.")  # fmt: skip
NORMAL = "The lungs are clear. No pleural effusion or pneumothorax. Heart size is normal."
REPORTS = [f"{FINDINGS[i % 5]} No acute fracture. The mediastinum is unremarkable." for i in range(30)] + [NORMAL] * 30

GOOD = ("--judge", "findings", "--references", "reports.jsonl")
JUDGES = """
def words(completions, reference, **columns):
    "Overlap of words: blind to sides and negations, and to saying things twice."
    return [len(set(c.lower().split()) & set(r.lower().split())) / max(1, len(set(r.lower().split())))
            for c, r in zip(completions, reference)]

def exact(completions, reference, **columns):
    return [float(c == r) for c, r in zip(completions, reference)]

def nothing(completions, **columns):
    return [float("nan") for _ in completions]

def longer(completions, **columns):
    return [len(c.split()) / 100 for c in completions]

def breaks(completions, **columns):
    if any("twice" in c or not c for c in completions):
        raise ConnectionError("gone")
    return [1.0 for c in completions]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(JUDGES)
    rows = [json.dumps({"study_id": f"s{i}", "reference": text}) for i, text in enumerate(REPORTS)]
    Path("reports.jsonl").write_text("\n".join(rows))
    return tmp_path


def check(judge: str, **options):
    return check_judge(judge, references=Path("reports.jsonl"), studies=40, **options)


def row(checked, name: str) -> Row:
    return next(row for row in checked.rows if row.name == name)


def test_an_edit_changes_what_it_says_and_nothing_else():
    made = edited(REPORTS[0], random.Random(0))
    assert made["side swapped"].startswith("Small right pleural effusion. No acute fracture.")
    assert "No pleural effusion." in made["negation flipped: present to absent"]
    assert made["finding removed"] == "No acute fracture. The mediastinum is unremarkable."
    assert made["case"] != REPORTS[0] and made["case"].lower() == REPORTS[0].lower()
    assert "comparison omitted" not in made, "there is none to omit"
    assert edited("", random.Random(0)) == {}


def test_rows_count_studies_that_have_both_rewards():
    """-0.2, 0, and +0.1 beside 0.5; a report that could not be scored is in no row."""
    own = {"reference": 0.5}
    rewards = [own | {"side swapped": 0.3}, own | {"side swapped": 0.5}, own | {"side swapped": 0.6}, own]
    rewards.append({"reference": None, "side swapped": 0.1})
    [found] = read_rows(rewards)
    assert (found.lower, found.same, found.higher) == (1, 1, 1) and found.studies == 3
    assert found.change == pytest.approx(-0.1 / 3) and found.right == pytest.approx(1 / 3)


def test_the_findings_judge_sees_every_edit_and_pays_for_saying_it_twice(here):
    checked = check("findings")
    assert all(row.right >= 0.9 for row in checked.rows)
    assert any(REPEATED in line and "length control" in line for line in checked.verdicts())
    assert not any("does not see" in line or "for nothing" in line for line in checked.verdicts())
    controlled = check("lc_findings")
    assert not any(REPEATED in line for line in controlled.verdicts())


def test_overlap_of_words_is_blind_to_what_matters_and_is_told_so(here):
    checked = check("own.py:words")
    added = row(checked, "finding added")
    assert added.same == added.studies, "words that are added cost nothing"
    said = checked.verdicts()
    assert any("does not see every error (finding added)" in line for line in said)
    assert any(f"can be gamed ({REPEATED}" in line for line in said)


def test_a_judge_of_exact_words_changes_its_mind_for_nothing(here):
    checked = check("own.py:exact")
    assert row(checked, "side swapped").right == 1.0
    assert any("changes its mind for nothing (case)" in line for line in checked.verdicts())


def test_a_reward_for_length_pays_an_added_error(here):
    checked = check("own.py:longer")
    added = row(checked, "finding added")
    assert added.higher == added.studies
    assert any("and 40 more" in line for line in checked.verdicts())


def test_below_ten_reports_there_is_no_verdict_and_all_is_not_well(here):
    Path("reports.jsonl").write_text("".join(json.dumps({"reference": text}) + "\n" for text in REPORTS[:9]))
    checked = check("own.py:words")
    assert checked.verdicts() == [
        "too few reports for a verdict: found 9 that the judge could score, expected at least 10. Give more."
    ]
    assert "too few reports" in page(checked) and FINE not in page(checked)
    assert any("too few reports" in str(shown) for shown in tables(checked))


def test_reports_in_which_no_error_can_be_made_give_no_verdict_on_errors():
    prices = PriceList({REFERENCE: [1.0] * 12, TEMPLATE: [0.0] * 12})
    assert verdicts([Row("case", False, 12, 0, 0, 0.0)], prices)[0].startswith("no verdict on errors")


def test_a_judge_that_fails_is_named_and_nothing_is_made_up(here):
    checked = check("own.py:breaks", overrides=["scoring.outage_s=0"])
    assert any("'breaks'" in line and "could not score every report" in line for line in checked.warnings)
    assert "empty" not in checked.prices.prices


def test_a_judge_that_scores_nothing_is_an_error_and_no_page(here):
    with pytest.raises(JudgeError, match="judge 'nothing' .* Nothing was scored"):
        check("own.py:nothing", html=Path("check.html"))
    assert not Path("check.html").exists()


def test_the_order_of_ranking_cases_by_kind():
    found = ordered(["side", "side", "size", None], [0.9, 0.5, 0.2, None], [0.1, 0.5, 0.4, 0.1])
    assert [(row.kind, row.right, row.tied, row.wrong) for row in found] == [
        ("side", 1, 1, 0), ("size", 0, 0, 1), ("all", 1, 1, 2)
    ]  # fmt: skip


def test_kendalls_tau_by_hand():
    """Pairs of 1 2 3 4 beside 1 3 2 4: five of six in order, tau = (5 - 1) / 6."""
    found = agreement([0.1, 0.3, 0.2, 0.4, None], [1, 2, 3, 4, 5])
    assert found.tau == pytest.approx(4 / 6, abs=1e-12) and found.reports == 4
    assert found.low <= found.tau <= found.high
    assert agreement([0.5, 0.5], [1, 2]).tau is None, "not computed, and not 0"


def test_files_of_readers_and_what_is_written(here, capsys):
    better, worse = "Small left pleural effusion.", "Small right pleural effusion."
    Path("ranking.csv").write_text(f"reference,better,worse,kind\n{better},{better},{worse},side\n")
    ratings = [(better, 5), (worse, 3), ("No pleural effusion.", 1)]
    rows = [json.dumps({"reference": better, "candidate": text, "rating": r}) for text, r in ratings]
    Path("ratings.jsonl").write_text("\n".join(rows))
    options = ["--ranking", "ranking.csv", "--ratings", "ratings.jsonl", "--html", "page.html", "--json", "out.json"]
    assert main(["judge-check", "--judge", "findings", "--references", "reports.jsonl", *options]) == 0
    said = capsys.readouterr().out
    assert "ranking (side): 1 of 1 in the right order" in said and "Kendall's tau 1.000" in said
    written = json.loads(Path("out.json").read_text())
    assert written["ranking"][-1]["right"] == 1 and written["ratings"]["tau"] == pytest.approx(1)
    assert {entry["name"] for entry in written["edits"]} >= {"side swapped", "finding added"} <= HARMFUL.keys()
    shown = Path("page.html").read_text()
    assert "What cheap strategies earn" in shown and TEMPLATE in shown
    assert "pleural effusion" not in shown + Path("out.json").read_text(), "no report text"


def test_the_reward_of_a_configuration_is_checked_as_a_whole(here):
    judges = [{"use": "findings", "length_control": "lc_green"}, {"use": "own.py:exact", "weight": 0.5}]
    data = {"reader": "jsonl", "path": "data.jsonl"}
    Path("run.yaml").write_text(json.dumps({"judges": judges, "data": data}))
    checked = check_judge(None, config=Path("run.yaml"), references=Path("reports.jsonl"), studies=40)
    assert checked.prices.prices["reference"].mean == pytest.approx(1.5)
    assert row(checked, "case").right == 0.0, "exact is half of it"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--references", "reports.jsonl"], "--judge: found none"),
        (["--judge", "findings"], "--references: found none"),
        (["--judge", "findings", "--references", "no.jsonl"], "no such file"),
        (["--judge", "findings", "--references", "empty.jsonl"], "every reference is empty"),
        (
            ["--judge", "findings", "--references", "reports.jsonl", "--ranking", "reports.jsonl"],
            "better: found no text",
        ),
        (["--judge", "findings", "--references", "reports.jsonl", "--ratings", "bad.jsonl"], "rating: found no number"),
        (["--judge", "findings", "--references", "reports.jsonl", "--json", "reports.jsonl"], "--json"),
        (["--judge", "findings", "--references", "reports.jsonl", "--html", "own.py"], "exists already"),
        ([*GOOD, "--columns", "findings"], "--columns: found 'findings', expected ROLE=NAME"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(arguments, words, here, capsys):
    Path("empty.jsonl").write_text('{"reference": " "}\n')
    Path("bad.jsonl").write_text('{"reference": "a", "candidate": "b", "rating": true}\n')
    assert main(["judge-check", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_a_single_report_is_written_down_without_a_standard_error(here):
    Path("reports.jsonl").write_text(json.dumps({"reference": REPORTS[0]}) + "\n")
    assert main(["judge-check", *GOOD, "--json", "out.json", "--html", "page.html"]) == 0
    assert json.loads(Path("out.json").read_text())["prices"][REFERENCE] == {"mean": 1.0, "error": None, "studies": 1}
