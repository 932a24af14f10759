"""`online-rl eval` without an engine: what is kept, gone on with, counted, compared, drawn and refused."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from online_rl import checkpoint
from online_rl.cli import main
from online_rl.commands.eval.command import evaluate_policies
from online_rl.commands.eval.source import Policy, find
from online_rl.commands.eval.summary import read_results, summarise
from online_rl.config import config_from_dict
from online_rl.errors import DataError, JudgeFailed
from tests.unit.commands.eval.writing import FAR, REFERENCE, Writes, rows


def test_every_study_has_a_row_without_text_and_patients_are_numbers(evaluate):
    evaluate(Writes(s1=FAR))
    assert [row["study_id"] for row in rows()] == [f"s{i}" for i in range(6)]
    assert [row["patient"] for row in rows()] == [0, 0, 1, 1, 2, 2]
    assert rows()[0]["reward"] == 1.0 and rows()[1]["reward"] < 1.0
    text = "".join(path.read_text() for path in Path("out").rglob("*") if path.is_file())
    written = set(re.findall("[a-z_]+", text.lower()))
    names = {"effusion", "pneumothorax", "cardiomegaly", "no"}  # findings that a report calls present have names
    assert not (set(re.findall("[a-z]+", f"{REFERENCE} {FAR}".lower())) - names) & written
    assert "pleural effusion" not in text and "secret" not in text
    assert sorted(os.listdir("out/policy")) == ["about.json", "scores.jsonl"]


def test_reports_are_kept_where_asked_and_can_be_scored_again(evaluate, capsys):
    judges = [{"use": "findings", "length_control": "lc_green"}]
    evaluate(Writes(s1=FAR, s2="No effusion.\u2028No\x85pneumothorax."), reports=True, judges=judges)
    assert (rows()[1]["reference"], rows()[1]["candidate"]) == (REFERENCE, FAR)
    assert main(["eval", "out/policy"]) == 0
    assert main(["score", "--judge", "findings", "--input", "out/policy/scores.jsonl", "--output", "again.jsonl"]) == 0
    again = [json.loads(line)["score"] for line in Path("again.jsonl").read_text().splitlines()]
    assert again == [row["scores"]["findings"]["parts"].get("raw", row["reward"]) for row in rows()]


def test_results_are_for_the_users_eyes_alone(evaluate):
    evaluate(Writes(), reports=True)
    assert Path("out/policy/scores.jsonl").stat().st_mode & 0o777 == 0o600


UNSURE = """
from judges.base import Score
class Judge:
    name = "unsure"
    def score(self, cases):
        return [Score.unscorable("no") if c.study_id in ("s0", "s3") else Score(0.5) for c in cases]
judge = Judge()
"""


def test_unscorable_studies_are_counted_and_in_no_mean(evaluate, capsys):
    Path("unsure.py").write_text(UNSURE)
    evaluate(Writes(), judges=[{"use": "unsure.py:judge"}])
    found = summarise(read_results(Path("out/policy"), "policy"))
    assert (found["scored"], found["unscorable"], found["studies"]) == (4, 2, 6)
    assert found["metrics"]["reward"]["mean"] == 0.5 and found["metrics"]["reward"]["n"] == 4  # with zeros: 0.333
    assert rows()[0]["reward"] is None and rows()[0]["status"] == "unscorable"
    assert main(["eval", "out/policy"]) == 0
    assert "4 of 6 scored; left out of every score: 2 unscorable" in capsys.readouterr().out


def test_a_study_whose_image_is_damaged_is_counted_and_has_no_length(evaluate, capsys):
    evaluate(Writes(s0=None))
    found = summarise(read_results(Path("out/policy"), "policy"))
    assert (found["scored"], found["bad_image"]) == (5, 1)
    assert {found["metrics"][name]["n"] for name in ("reward", "verbosity/mean", "completions/clipped_ratio")} == {5}
    assert main(["eval", "out/policy"]) == 0
    assert "left out of every score: 1 with an image that cannot be decoded" in capsys.readouterr().out


LEAVES = """
from pathlib import Path
from judges.base import Score
def score(cases):
    return [Score.failed("gone") if c.study_id == "s3" and not Path("back").exists() else Score(1.0) for c in cases]
class Judge:
    name = "leaves"
    def score(self, cases):
        return score(cases)
judge = Judge()
"""


def test_what_was_scored_before_a_judge_went_away_is_not_written_again(evaluate):
    Path("leaves.py").write_text(LEAVES)
    settings = {"judges": [{"use": "leaves.py:judge"}], "rollout": {"max_num_seqs": 2}, "scoring": {"max_retries": 0}}
    first, second = Writes(), Writes()
    with pytest.raises(JudgeFailed, match="give the same command again"):
        evaluate(first, **settings)
    assert not Path("out/policy/scores.jsonl").exists()
    Path("back").touch()
    evaluate(second, **settings)
    assert (first.asked, second.asked) == (["s0", "s1", "s2", "s3"], ["s2", "s3", "s4", "s5"])
    assert [row["reward"] for row in rows()] == [1.0] * 6


def test_finished_results_are_taken_as_they_are_and_others_are_not(evaluate):
    evaluate(Writes())
    again = Writes()
    assert "already" in evaluate(again) and again.asked == []
    with pytest.raises(DataError, match=r"another evaluation \(other data\.prompt, judges\).*--overwrite"):
        evaluate(again, judges=[{"use": "findings"}], data={"reader": "jsonl", "path": "studies.jsonl", "prompt": "X"})
    evaluate(again, overwrite=True)
    assert len(again.asked) == 6


def test_two_policies_on_the_same_studies(evaluate, capsys, monkeypatch):
    evaluate(Writes(), into="out/ours")
    evaluate(Writes(s1=FAR, s4=FAR), into="out/theirs")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert main(["eval", "out/ours", "--against", "out/theirs", "--json", "all.json", "-o", "drawn"]) == 0
    printed = capsys.readouterr().out
    assert Image.open("drawn/eval.png").width > 1000 and Path("drawn/summary.json").is_file()
    assert re.search(r"reward: ours wins 2, ties 4, loses 0; win rate 0\.667", printed)  # (2 + 4 / 2) / 6
    found = json.loads(Path("all.json").read_text())["comparison"]
    expected = sum(row["reward"] for row in rows("out/ours")) - sum(row["reward"] for row in rows("out/theirs"))
    assert found["differences"]["reward"]["mean"] == pytest.approx(expected / 6)
    assert found["differences"]["judge/findings/false_finding"]["mean"] < 0


@pytest.mark.parametrize("width", [40, 100])
def test_a_terminal_of_forty_columns_loses_no_number(evaluate, capsys, monkeypatch, width):
    evaluate(Writes(), into="out/the_policy_that_was_trained")
    evaluate(Writes(s1=FAR, s4=FAR), into="out/theirs")
    monkeypatch.setenv("COLUMNS", str(width))
    arguments = ["eval", "out/the_policy_that_was_trained", "--against", "out/theirs", "--json", "all.json"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= width and "…" not in printed
    found = json.loads(Path("all.json").read_text())
    reward = found["comparison"]["differences"]["reward"]
    for number in (reward["mean"], found["policies"][1]["metrics"]["reward"]["mean"]):
        assert f"{number:.3f}" in printed
    assert f"{reward['low']:+.3f}..{reward['high']:+.3f}" in printed


def test_policies_of_other_studies_are_refused(evaluate, capsys):
    evaluate(Writes(), into="out/ours")
    evaluate(Writes(), into="out/theirs", studies=4)
    assert main(["eval", "out/ours", "--against", "out/theirs"]) == 2
    said = capsys.readouterr().err
    assert "out/ours has 6 studies, out/theirs has 4, 4 in both (2 only in ours)" in said
    assert "same --config, --split and --studies" in said


def test_policies_scored_by_other_judges_are_refused(evaluate, capsys):
    evaluate(Writes(), into="out/ours")
    evaluate(Writes(), into="out/theirs", judges=[{"use": "findings"}])
    assert main(["eval", "out/ours", "--against", "out/theirs"]) == 2
    assert "other judges" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs/none"], "runs/none is not there"),
        (["empty"], "empty: found an empty folder, expected a run folder"),
        (["policy"], "--config: found none"),
        (["policy", "--config", "mine.yaml", "--split", "tset"], "--split: found 'tset', expected train, eval"),
        (["policy", "--config", "mine.yaml", "--judge", "nobody"], "nobody"),
        (["begun"], "a run without a trained policy yet"),
        (["half"], "another version"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_words(folder, capfd, arguments, words):
    Path("empty").mkdir()
    Path("begun").mkdir()
    Path("begun/metrics.jsonl").touch()
    Path("half").mkdir()
    Path("half/config.resolved.yaml").write_text("judge: {kind: green}\n")
    assert main(["eval", *arguments]) == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said
    assert not list(folder.rglob("scores.jsonl*"))


def test_damaged_results_are_refused(evaluate, capsys):
    evaluate(Writes())
    path = Path("out/policy/scores.jsonl")
    path.write_text(path.read_text()[:-40])
    assert main(["eval", "out/policy"]) == 2
    assert "not what this version" in capsys.readouterr().err


def test_a_run_is_its_trained_policy_and_start_is_what_it_began_with(folder):
    run = Path("runs/mine")
    (run / "model").mkdir(parents=True)
    (run / "model" / "config.json").write_text("{}")
    cfg = config_from_dict({"model": {"path": "a/base", "revision": "v2"}})
    trained, start = find("runs/mine", cfg, print), find("start", cfg, print)
    assert isinstance(trained, Policy) and isinstance(start, Policy)
    assert (trained.label, trained.path) == ("mine", "runs/mine/model")
    assert (start.label, start.path, start.revision) == ("start", "a/base", "v2")


def test_of_a_run_that_is_being_written_the_newest_whole_checkpoint_is_evaluated(folder):
    run, told = Path("runs/mine"), []
    cfg = config_from_dict({"run": {"dir": str(run)}, "model": {"path": "a/base", "revision": "v2"}})
    weights = SimpleNamespace(save=lambda folder: (folder / "weights").write_bytes(b"w"))
    for step in (2, 4):
        checkpoint.save(run, step, weights, {}, cfg)
    (run / "checkpoints" / "step-6.partial").mkdir()  # its weights are on their way
    (run / "checkpoints" / "step-6.partial" / "weights").write_bytes(b"w")
    (run / "metrics.jsonl").write_text('{"step": 5, "reward": 0.5}\n{"step": 6, "rew')

    policy = find("runs/mine", cfg, told.append)
    assert isinstance(policy, Policy)
    assert (policy.label, policy.path, policy.revision) == ("mine-step-4", "a/base", "v2")
    assert policy.shards == "runs/mine/checkpoints/step-4"
    assert told == ["runs/mine has not ended: its newest checkpoint, step 4, is evaluated."]


def test_a_judge_of_the_configuration_is_asked_by_its_name(folder, monkeypatch):
    """`--judge` names an entry with its arguments first, then a judge as `online-rl score` does."""
    tasks = []

    def stop(task, gpus, say):
        tasks.append(task)
        raise DataError("enough")

    monkeypatch.setattr("online_rl.commands.eval.command._evaluate", stop)
    settings = ["guards=[{use: findings, name: strict, args: {normal_weight: 0.5}}]"]
    with pytest.raises(DataError, match="enough"):
        evaluate_policies("policy", config=Path("mine.yaml"), judges=["lc_findings", "strict"], overrides=settings)
    [task] = tasks
    [judge], [guard] = task.config["judges"], task.config["guards"]
    assert (judge["use"], judge["length_control"], judge["name"]) == ("findings", "lc_green", "lc_findings")
    assert (guard["name"], guard["args"]) == ("strict", {"normal_weight": 0.5})
    assert task.folder == "eval/eval/policy"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"json_file": "mine.yaml"}, ("--json", "--config")),
        ({"json_file": "studies.jsonl"}, ("--json", "data.path")),
        ({"rexrank": "studies.jsonl"}, ("--rexrank", "data.path")),
        ({"json_file": "policy/config.json"}, ("--json", "not written by this command")),
        ({"json_file": "out/eval.png", "output": "out"}, ("--json", "--output")),
        ({"output": "."}, ("--output", "holds a policy")),
    ],
)
def test_results_never_replace_what_the_command_reads(folder, options, words):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    given = {key: Path(value) for key, value in options.items()}
    with pytest.raises(DataError) as refused:
        evaluate_policies("policy", config=Path("mine.yaml"), **given)
    assert all(word in str(refused.value) for word in words)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
