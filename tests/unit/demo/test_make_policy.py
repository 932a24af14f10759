"""Making the shipped policies: seeing is learnt from maps, writing leaves sight alone, and it can be repeated."""

import hashlib
from dataclasses import replace

import pytest
import torch

from online_rl.config import config_from_dict
from online_rl.config.data import CHEXALIGN_PROMPT
from online_rl.data.prompt import render_prompt
from online_rl.data.readers import read_studies
from online_rl.demo import make_policy, shipped, teaching
from online_rl.demo.make_policy import HABIT_LAYERS, head_of, in_order, language_of, make_policies, prepare_course
from online_rl.demo.policy import make_model
from online_rl.demo.teaching import Stage, learn_to_see, learn_to_write, varied
from online_rl.demo.world import plan_patients, write_world
from online_rl.rollout.prompts import PromptBuilder

pytestmark = pytest.mark.usefixtures("one_thread")
SHORT = Stage("short", epochs=2, batch=4, rate=1e-3)


def nothing(*told):
    return None


@pytest.fixture(scope="module")
def course():
    return prepare_course(8, seed=4, workers=1, progress=nothing)


def test_it_trains_on_the_prompts_that_sampling_renders(course, tmp_path):
    write_world(tmp_path / "world", 8, seed=4, workers=1)
    cfg = config_from_dict({"data": {"max_images": 1}})
    found = read_studies(cfg, demo_folder=tmp_path / "world")
    builder = PromptBuilder(course.processor, cfg)
    prompts = {study.study_id: builder.build(study) for study in (*found.train, *found.eval, *found.test)}
    assert len(prompts) == 8
    for number, plan in enumerate(plan_patients(8, seed=4)):
        prompt = prompts[plan.row["study_id"]]
        assert head_of(course.processor, render_prompt(CHEXALIGN_PROMPT, plan.row["indication"])) == prompt.ids
        assert course.reports[number][0] == prompt.ids
        shown = course.lessons.films[number].float() / 127.5 - 1
        torch.testing.assert_close(prompt.inputs["pixel_values"][0, 0, 0], shown, atol=1e-5, rtol=0)
        written = course.processor.tokenizer.decode(course.reports[number][1][:-1])
        assert written == " " + plan.row["findings"]


def test_captions_name_the_findings_in_one_order(make_study):
    labels = [{"name": "pacemaker", "side": "left"}, {"name": "effusion", "side": "right", "severity": "small"}]
    study = replace(make_study(), columns={"labels": labels})
    assert [label["name"] for label in in_order(study).columns["labels"]] == ["effusion", "pacemaker"]


def test_seeing_trains_the_vision_encoder_alone(course):
    model, losses = make_model(course.processor, 0), []
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stage = replace(SHORT, epochs=12)
    learn_to_see(model, course.lessons, stage, 0, lambda name, step, steps, loss: losses.append(loss))
    assert len(losses) == 24 and losses[-1] < 0.9 * losses[0]
    changed = {name for name, tensor in model.state_dict().items() if not tensor.equal(before[name])}
    assert changed and all(name.startswith("model.vision_model.") for name in changed)


def test_writing_leaves_sight_alone(course):
    model, losses = make_model(course.processor, 0), []
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    films = course.lessons.films
    note = lambda name, step, steps, loss: losses.append(loss)  # noqa: E731
    learn_to_write(model, films, course.captions, replace(SHORT, epochs=6), language_of(model), 0, note)
    assert losses[-1] < losses[0]
    assert all(t.equal(before[n]) for n, t in model.state_dict().items() if n.startswith("model.vision_model."))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_films_are_shifted_and_never_mirrored():
    films = torch.zeros(2, 112, 112, dtype=torch.uint8)
    films[:, :, 20] = 255
    for seed in range(20):
        torch.manual_seed(seed)
        column = varied(films)[0, 0].mean(0).argmax().item()
        assert abs(column - 20) <= 2


def hashes(folder):
    return [hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in (shipped.BASE, shipped.HABITS)]


def test_the_same_seed_makes_the_same_files_which_unpack(tmp_path, monkeypatch):
    from safetensors.torch import load_file
    from transformers import AutoModelForImageTextToText, AutoProcessor

    for stage in ("SEE", "NAME", "WRITE", "HABITS"):
        monkeypatch.setattr(make_policy, stage, replace(SHORT, epochs=1))
    made = []
    for name, seed in (("one", 3), ("again", 3), ("other", 5)):
        make_policies(tmp_path / name, studies=8, seed=seed)
        made.append(hashes(tmp_path / name))
    assert made[0] == made[1] and made[0][0] != made[2][0] and made[0][1] != made[2][1]

    habits = load_file(tmp_path / "one" / shipped.HABITS)
    assert {int(name.split(".")[3]) for name in habits} == set(HABIT_LAYERS)
    unpacked = {}
    for name in shipped.NAMES:
        shipped.unpack(name, tmp_path / name, source=tmp_path / "one")
        unpacked[name] = AutoModelForImageTextToText.from_pretrained(tmp_path / name).state_dict()
        assert AutoProcessor.from_pretrained(tmp_path / name).chat_template
    start, without = unpacked[shipped.START], unpacked[shipped.NO_HABITS]
    assert {name for name in start if not start[name].equal(without[name])} <= set(habits)
    assert all(torch.equal(start[name], tensor.float()) for name, tensor in habits.items())


def test_training_steps_are_counted_by_stage(course):
    steps = []
    teaching.train(
        replace(SHORT, name="x", epochs=3, batch=3),
        lambda chosen: (torch.ones(1, requires_grad=True) * len(chosen)).sum(),
        [torch.nn.Parameter(torch.zeros(1))],
        8,
        lambda *told: steps.append(told[:3]),
    )
    assert steps == [("x", step, 6) for step in range(1, 7)]  # 8 studies hold two whole batches of 3


def test_the_log_ends_with_the_hashes_of_the_files(tmp_path, monkeypatch):
    for stage in ("SEE", "NAME", "WRITE", "HABITS"):
        monkeypatch.setattr(make_policy, stage, replace(SHORT, name=stage, epochs=1))
    lines = []
    make_policy.make_and_report(tmp_path / "made", 1, 1, lines.append, studies=8)
    assert [line.split(" s  ")[1].split("  ")[0] for line in lines[:-2]] == [
        *("drawing 8/8", "SEE 2/2", "NAME 2/2", "WRITE 2/2", "HABITS 2/2")
    ]
    assert [line.split()[-1] for line in lines[-2:]] == hashes(tmp_path / "made")
