"""The same questions at every evaluation: which are drawn, how answers are counted, what the evaluation reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from online_rl.config import config_from_dict
from online_rl.errors import ConfigError, DataError
from online_rl.rollout.types import Completion, Prompt, Rollouts
from online_rl.vqa.exam import Exam, accuracies, draw_questions, make_exam


def slake(folder, count):
    (folder / "imgs").mkdir(exist_ok=True)
    rows = []
    for i in range(count):
        (folder / "imgs" / f"{i}.png").touch()
        row = {"question": f"Is it {i}?", "answer": "Yes" if i % 2 else "No", "answer_type": "CLOSED", "q_lang": "en"}
        rows.append(row | {"img_name": f"{i}.png", "content_type": "Presence"})
    (folder / "test.json").write_text(json.dumps(rows))
    return str(folder / "test.json")


def config(file, **more):
    return config_from_dict({"eval": {"vqa": {"slake": file}, **more}})


def test_as_many_are_drawn_as_asked_and_the_same_in_every_run(tmp_path):
    file = slake(tmp_path, 50)
    drawn = draw_questions(config(file, vqa_questions=20), None)
    assert len(drawn) == 20 and drawn == draw_questions(config(file, vqa_questions=20), None)
    places = [int(question.text[6:-1]) for question in drawn]
    assert places == sorted(places) and places != list(range(20))
    assert len(draw_questions(config(file), None)) == 50, "no more than there are"
    assert draw_questions(config_from_dict({}), None) == []


def test_what_cannot_be_read_is_refused_by_the_key(tmp_path):
    with pytest.raises(DataError, match=r"eval\.vqa: .*absent\.json: cannot be read"):
        draw_questions(config(str(tmp_path / "absent.json")), None)
    with pytest.raises(ConfigError, match=r"eval\.vqa: found format 'quiz', expected one of chexbench"):
        draw_questions(config_from_dict({"eval": {"vqa": {"quiz": "a.json"}}}), None)
    with pytest.raises(DataError, match=r"eval\.vqa: found slake=world .* the demo alone"):
        draw_questions(config("world"), None)


class Engine:
    """Says what it is told, in turn."""

    def __init__(self, said):
        self.said, self.limits = said, []

    def greedy(self, prompts, max_tokens=None):
        self.limits.append(max_tokens)
        stream = [
            Completion(i, 0, prompt, (5,), (0.0,), text, False)
            for i, (prompt, text) in enumerate(zip(prompts, self.said, strict=False))
        ]
        return Rollouts(stream, len(prompts), 1, 0)


class Builder:
    """Cannot decode the image of the fifth question."""

    def build_all(self, studies, spare=()):
        return [
            Prompt(study, study.indication, (), (1,), {}) for study in studies if "Is it 4?" not in study.indication
        ]


def test_an_unreadable_answer_is_wrong_and_one_without_an_image_is_not_asked(tmp_path):
    questions = draw_questions(config(slake(tmp_path, 5)), None)  # no, yes, no, yes, no
    engine = Engine(["no", "No.", "The lungs are clear.", "yes"])
    exam = Exam(questions, engine, Builder())
    figures = {"vqa/accuracy": 0.5, "vqa/slake/accuracy": 0.5, "vqa/slake/unreadable": 0.25, "vqa/slake/not_asked": 1.0}
    assert exam.metrics() == figures
    assert engine.limits == [32], "an answer is short"


def test_questions_that_cannot_be_asked_are_told(tmp_path):
    file = Path(slake(tmp_path, 3))
    rows = json.loads(file.read_text())
    rows[1]["answer"] = ""
    file.write_text(json.dumps(rows))
    told: list[str] = []
    assert len(draw_questions(config(str(file)), None, told.append)) == 2
    assert told and told[0].startswith("eval.vqa: 1 questions of slake cannot be asked (first: ")


def test_questions_about_more_images_than_are_shown_are_not_asked(tmp_path):
    file = Path(slake(tmp_path, 3))
    rows = json.loads(file.read_text())
    rows[1]["img_name"] = "0.png|1.png"
    file.write_text(json.dumps(rows))
    told: list[str] = []
    cfg = config_from_dict({"data": {"max_images": 1}, "eval": {"vqa": {"slake": str(file)}}})
    assert len(draw_questions(cfg, None, told.append)) == 2
    assert "1 questions of slake cannot be asked" in told[0] and "data.max_images=2 asks them too" in told[0]


def test_sets_have_figures_of_their_own():
    answers = [("slake", True, True), ("slake", True, True), ("vqa_rad", True, False), ("vqa_rad", False, False)]
    assert accuracies(answers) == {
        "vqa/accuracy": 0.5,
        "vqa/slake/accuracy": 1.0,
        "vqa/slake/unreadable": 0.0,
        "vqa/vqa_rad/accuracy": 0.0,
        "vqa/vqa_rad/unreadable": 0.5,
    }
    assert accuracies([]) == {}


def test_a_question_is_asked_alone_whatever_studies_are_asked(tmp_path, demo_processor):
    cfg = config_from_dict({"data": {"prompt": "Write a report. {indication}"}, "eval": {"vqa": {"slake": "x"}}})
    questions = draw_questions(config(slake(tmp_path, 1)), None)
    exam = make_exam(cfg, questions, Engine([]), demo_processor)
    assert exam is not None and exam.builder.template == "{indication}"
    assert make_exam(cfg, [], Engine([]), demo_processor) is None
