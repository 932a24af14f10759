"""`online-rl eval-vqa` without an engine: all four formats in one call, what is kept, counted, compared and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from online_rl.cli import main
from online_rl.commands.eval.source import Policy
from online_rl.commands.vqa import worker
from online_rl.config import config_from_dict
from online_rl.errors import DataError
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.vqa.formats import FORMATS

SETS = {
    "chexbench": {
        "View": [
            {"question": "Which view?", "option_0": "AP", "option_1": "PA", "image_path": f"{i}.png", "answer": i % 2}
            for i in range(4)
        ]
        + [{"question": "Which view?", "option_0": "AP", "option_1": "PA", "image_path": "x.png", "answer": 9}]
    },
    "rexvqa": [
        {"question": "What?", "options": ["A. edema", "B. none"], "correct_answer": "A", "ImagePath": ["a.png"]}
    ],
    "vqa_rad": [
        {
            "question": "Is it large?",
            "answer": "Yes",
            "answer_type": "CLOSED ",
            "phrase_type": "test_para",
            "image_name": "b.png",
        }
    ],
    "slake": [
        {"question": "Left or right?", "answer": "Left", "answer_type": "CLOSED", "q_lang": "en", "img_name": "c.png"}
    ],
}


class Answers:
    """Stands in for vLLM: the answer that `of` gives to the question; none for None."""

    def __init__(self, of) -> None:
        self.of = of
        self.asked: list[str] = []

    def __call__(self, studies):
        said = [(study, self.of(study.indication)) for study in studies]
        said = [(study, text) for study, text in said if text is not None]
        self.asked += [study.study_id for study, _ in said]
        stream = [
            Completion(i, 0, Prompt(s, "", (), (1,), {}), (1,), (0.0,), text, False) for i, (s, text) in enumerate(said)
        ]
        return Rollouts(stream, len(said), 1, 0)


@pytest.fixture
def ask(folder, monkeypatch, capsys):
    """Run the worker here on all four sets; returns what it said."""
    for name, content in SETS.items():
        Path(f"{name}.json").write_text(json.dumps(content))

    def ask(writes, into="out/policy", sets=tuple(SETS), texts=False, overwrite=False) -> str:
        config = config_from_dict(
            {"data": {"reader": "jsonl", "path": "studies.jsonl"}, "rollout": {"max_num_seqs": 3}}
        )
        policy = Policy("policy", "policy", "policy").as_dict()
        monkeypatch.setattr(worker, "make_writer", lambda *_: writes)
        questions = [[name, f"{name}.json"] for name in sets]
        task = worker.Task(config.model_dump(mode="json"), policy, into, questions, None, "test", 32, texts, overwrite)
        capsys.readouterr()
        worker.answer(task)
        return capsys.readouterr().err

    return ask


def right(question: str) -> str:
    return "yes" if "large" in question else "left" if "Left" in question else "A"


def rows(into="out/policy") -> list[dict]:
    return [json.loads(line) for line in Path(into, "answers.jsonl").read_text().splitlines()]


def test_all_four_formats_in_one_table(ask, capsys):
    said = ask(Answers(right))
    assert "1 questions cannot be asked and are left out: chexbench.json: View[4]: answer: found '9'" in said
    assert [row["source"] for row in rows()] == ["chexbench"] * 4 + ["rexvqa", "vqa_rad", "slake"]
    assert [row["right"] for row in rows()] == [True, False, True, False, True, True, True]
    assert "said" not in rows()[0] and "Left" not in Path("out/policy/answers.jsonl").read_text()
    assert main(["eval-vqa", "out/policy"]) == 0
    printed = capsys.readouterr().out
    assert "0.714" in printed and "chexbench/View" in printed and "unreadable answers count as wrong" in printed


def test_a_question_about_more_images_than_are_shown_is_not_asked(ask):
    """By default a policy is shown two."""
    for images in ("a.png|b.png", "a.png|b.png|c.png"):
        rexvqa = [SETS["rexvqa"][0], SETS["rexvqa"][0] | {"ImagePath": images.split("|")}]
        Path("rexvqa.json").write_text(json.dumps(rexvqa))
        said = ask(Answers(right), into=f"out/{images}", sets=("rexvqa",))
        assert len(rows(f"out/{images}")) == (1 if "c.png" in images else 2)
        assert ("data.max_images=3 asks them too" in said) == ("c.png" in images)
    assert "found 3 images" in json.loads(Path(f"out/{images}/about.json").read_text())["left_out"][0]


def test_reports_instead_of_answers_are_wrong_and_counted(ask, capsys):
    ask(Answers(lambda question: "The heart is normal in size. A small effusion."))
    assert {row["status"] for row in rows() if row["source"] != "slake"} == {"unreadable"}
    assert not any(row["right"] for row in rows())
    assert main(["eval-vqa", "out/policy", "-o", "drawn"]) == 0
    found = json.loads(Path("drawn/summary.json").read_text())["policies"][0]["accuracy"]
    assert found["all"]["unreadable"] == 6 and found["all"]["accuracy"] == 0.0 and found["all"]["questions"] == 7


def test_two_policies_by_mcnemar(ask, capsys):
    ask(Answers(right), into="out/ours")
    ask(Answers(lambda question: "C"), into="out/theirs")
    assert main(["eval-vqa", "out/ours", "--against", "out/theirs", "-o", "drawn"]) == 0
    found = json.loads(Path("drawn/summary.json").read_text())["comparison"]["differences"]["all"]
    assert (found["only_ours_right"], found["only_theirs_right"]) == (5, 0)
    assert found["p"] == pytest.approx(2 / 2**5) and found["difference"] == pytest.approx(5 / 7)
    assert "McNemar p" in capsys.readouterr().out
    ask(Answers(right), into="out/other", sets=("slake",))
    assert main(["eval-vqa", "out/ours", "--against", "out/other"]) == 2
    assert "ours answered 7 questions, other 1, 1 of them the same" in capsys.readouterr().err


def test_what_was_answered_is_not_asked_again(ask):
    fails = Answers(lambda question: (_ for _ in ()).throw(DataError("gone")) if "large" in question else "A")
    with pytest.raises(DataError, match="gone"):
        ask(fails)
    second = Answers(right)
    ask(second)
    assert fails.asked[:3] + second.asked == [row["question_id"] for row in rows()]
    again = Answers(right)
    assert "already" in ask(again) and again.asked == []
    with pytest.raises(DataError, match=r"other questions or by another policy \(other questions\)"):
        ask(again, sets=("slake",))


def test_an_image_that_cannot_be_decoded_is_no_wrong_answer(ask, capsys):
    ask(Answers(lambda question: None if "large" in question else "A"))
    assert [row["status"] for row in rows() if row["source"] == "vqa_rad"] == ["bad_image"]
    assert main(["eval-vqa", "out/policy"]) == 0
    assert "1 questions were not asked" in " ".join(capsys.readouterr().out.split())


def test_texts_are_kept_where_asked(ask):
    ask(Answers(right), texts=True)
    assert rows()[-1]["said"] == "left"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["policy", "--questions", "slake=slake.json"], "--config: found none"),
        (["policy", "--config", "mine.yaml"], "--questions: found none; expected FORMAT=FILE"),
        (["policy", "--config", "mine.yaml", "--questions", "mimic=x.json"], "'mimic=x.json', expected FORMAT=FILE"),
        (["policy", "--config", "mine.yaml", "--questions", "slake"], "expected FORMAT=FILE"),
        (["runs/none", "--questions", "slake=slake.json"], "runs/none is not there"),
        (
            ["policy", "--config", "mine.yaml", "--questions", "slake=slake.json", "--split", "dev"],
            "--split: found 'dev'",
        ),
        (
            ["policy", "--config", "mine.yaml", "--questions", "slake=slake.json", "--texts", "data.confidential=true"],
            "--texts: found it beside data.confidential=true",
        ),
    ],
)
def test_what_cannot_be_asked_is_said_in_words(ask, capsys, arguments, words):
    assert main(["eval-vqa", *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_the_help_names_every_format():
    from typer.main import get_command

    from online_rl.cli import app

    [questions] = [p for p in get_command(app).commands["eval-vqa"].params if p.name == "questions"]
    assert all(name in questions.help for name in FORMATS)
