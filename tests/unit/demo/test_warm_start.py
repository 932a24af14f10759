"""The warm start: it learns, it repeats itself, and it trains on what sampling will read."""

import os
import time

import pytest
import torch

from online_rl.config import config_from_dict
from online_rl.demo import prepare, warm_start
from online_rl.demo.policy import make_model, make_processor
from online_rl.demo.warm_start import caption, label_classes, make_examples, next_token_loss
from online_rl.demo.world import write_world

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """The warm start takes every core it finds."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "world"
    write_world(folder, studies=16, seed=1, workers=1)
    return folder


@pytest.fixture(scope="module")
def prompts(world):
    """Of 8 studies, with the processor that read them."""
    from online_rl.data.readers import read_studies
    from online_rl.rollout.prompts import PromptBuilder

    cfg = config_from_dict({"data": {"max_images": 1}})
    studies = read_studies(cfg, demo_folder=world).train[:8]
    assert len(studies) == 8
    processor = make_processor(" " + s.reference for s in studies)
    builder = PromptBuilder(processor, cfg)
    return [builder.build(study) for study in studies], processor


@pytest.fixture(scope="module")
def examples(prompts):
    return make_examples(prompts[0], prompts[1].tokenizer)


def finding(name, side="none", **more):
    return {"name": name, "side": side, **more}


@pytest.mark.parametrize(
    "labels, classes",
    [
        ([], set()),
        ([finding("cardiomegaly")], {"cardiomegaly/none"}),
        ([finding("effusion", "left", severity="small")], {"effusion/left", "effusion/left/small"}),
        ([finding("nodule", "right", zone="upper")], {"nodule/right", "nodule/right/upper"}),
        ([finding("edema", "bilateral", severity=None)], {"edema/left", "edema/right"}),
        ([{"name": "hernia"}], {"hernia/none"}),
    ],
)
def test_label_classes(make_study, labels, classes):
    assert label_classes(make_study(columns={"labels": labels})) == classes


def test_label_classes_of_a_study_without_labels(make_study):
    assert label_classes(make_study()) == set()


@pytest.mark.parametrize(
    "labels, text",
    [
        ([], "normal."),
        (
            [finding("effusion", "left", severity="small"), finding("rib_fracture", "right", zone="upper")],
            "small left effusion. right upper rib fracture.",
        ),
    ],
)
def test_captions_name_the_findings(make_study, labels, text):
    assert caption(make_study(columns={"labels": labels})) == text


def test_captions_come_right_behind_the_image(prompts, examples):
    rendered, tokenizer = prompts[0], prompts[1].tokenizer
    image = tokenizer.convert_tokens_to_ids("<image>")
    for prompt, (before, written) in zip(rendered, examples.captions, strict=True):
        assert before == prompt.ids[: len(before)] and before.count(image) == prompt.ids.count(image)
        assert tokenizer.decode(written[:-1]) == " " + caption(prompt.study) and written[-1] == tokenizer.eos_token_id


def test_examples_hold_what_sampling_reads(prompts, examples):
    rendered, tokenizer = prompts[0], prompts[1].tokenizer
    assert examples.pixels.shape == (8, 3, 112, 112) and len(examples.labels) == 8
    assert set(examples.labels.unique().tolist()) <= {0.0, 1.0} and examples.labels.any()
    for prompt, pixels, (prompt_ids, report_ids) in zip(rendered, examples.pixels, examples.reports, strict=True):
        assert prompt_ids == prompt.ids
        assert pixels.equal(prompt.inputs["pixel_values"][0, 0])
        assert report_ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(report_ids[:-1]) == " " + prompt.study.reference.strip()


@torch.no_grad()
def test_its_loss_is_the_models_own_loss(prompts, examples):
    """`next_token_loss` puts image and text together by hand; transformers' forward pass must agree."""
    model = make_model(prompts[1], seed=0).eval()
    chosen = [0, 3, 5]
    hidden = warm_start.encode(model, examples.pixels[chosen])
    ours = next_token_loss(model, hidden, [examples.reports[i] for i in chosen])
    total, tokens = 0.0, 0
    for i in chosen:
        prompt_ids, report_ids = examples.reports[i]
        ids = torch.tensor([[*prompt_ids, *report_ids]])
        inputs = prompts[0][i].inputs
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits[0]
        logp = torch.log_softmax(logits[len(prompt_ids) - 1 : -1], -1)
        total -= logp.gather(1, torch.tensor(report_ids)[:, None]).sum()
        tokens += len(report_ids)
    torch.testing.assert_close(ours, total / tokens, atol=1e-5, rtol=1e-5)


def trained(processor, examples, seed=0, seconds=None):
    model, losses = make_model(processor, seed=0), {"seeing": [], "reports": []}
    warm_start.warm_start(model, examples, seed, seconds, lambda stage, step, steps, loss: losses[stage].append(loss))
    return model.state_dict(), losses


@pytest.fixture
def two(examples):
    """Two studies are enough to see training work."""
    return warm_start.Examples(examples.pixels[:2], examples.labels[:2], examples.captions[:2], examples.reports[:2])


def test_both_losses_fall(prompts, two, monkeypatch):
    monkeypatch.setattr(warm_start, "SEEING_EPOCHS", 3)
    monkeypatch.setattr(warm_start, "REPORT_EPOCHS", 4)
    monkeypatch.setattr(warm_start, "augmented", lambda pixels: pixels)  # its noise would drown a handful of steps
    _, losses = trained(prompts[1], two)
    assert len(losses["seeing"]) == 3 and len(losses["reports"]) == 4  # two studies make one batch
    assert losses["seeing"][-1] < 0.98 * losses["seeing"][0]
    assert losses["reports"][-1] < 0.98 * losses["reports"][0]


def test_same_seed_same_weights(prompts, two, monkeypatch):
    monkeypatch.setattr(warm_start, "SEEING_EPOCHS", 1)
    monkeypatch.setattr(warm_start, "REPORT_EPOCHS", 2)  # the last step of a stage has rate 0
    first, again, other = (trained(prompts[1], two, seed)[0] for seed in (5, 5, 6))
    assert all(first[name].equal(again[name]) for name in first)
    assert any(not first[name].equal(other[name]) for name in first)


def test_it_works_without_labels_and_leaves_threads_as_they_were(prompts, two, monkeypatch):
    monkeypatch.setattr(warm_start, "REPORT_EPOCHS", 1)
    unlabelled = warm_start.Examples(two.pixels, two.labels[:, :0], two.captions, two.reports)
    _, losses = trained(prompts[1], unlabelled)
    assert losses["seeing"] == [] and len(losses["reports"]) == 1
    assert torch.get_num_threads() == 1


def test_seconds_bound_the_time(prompts, two, monkeypatch):
    monkeypatch.setattr(warm_start, "SEEING_EPOCHS", 10_000)
    monkeypatch.setattr(warm_start, "REPORT_EPOCHS", 10_000)
    start = time.monotonic()
    _, losses = trained(prompts[1], two, seconds=1.0)
    assert time.monotonic() - start < 8.0
    assert losses["seeing"] and losses["reports"]


def test_left_stays_left():
    """A mirrored image would teach the wrong side; shifts of a few pixels are all that moves."""
    pixels = torch.zeros(1, 3, 112, 112)
    pixels[..., 20] = 100.0
    for seed in range(20):
        torch.manual_seed(seed)
        column = warm_start.augmented(pixels)[0, 0].mean(0).argmax().item()
        assert abs(column - 20) <= 4


OWN = {"prompt": "Describe the image. {indication}"}  # not the prompt of the shipped policy


def demo_config(cache, **sections):
    return config_from_dict({"demo": {"cache": str(cache), "studies": 8}, "data": OWN, **sections})


def test_prepare_makes_each_thing_once(tmp_path, monkeypatch):
    monkeypatch.setattr(warm_start, "SEEING_EPOCHS", 1)
    monkeypatch.setattr(warm_start, "REPORT_EPOCHS", 1)
    demo = prepare.prepare(demo_config(tmp_path))
    assert (demo.world / "studies.jsonl").exists() and (demo.policy / "config.json").exists()
    assert not list(tmp_path.glob("*.partial"))

    def never(*args, **kwargs):
        raise AssertionError("made a second time")

    monkeypatch.setattr(prepare, "_draw", never)
    monkeypatch.setattr(prepare, "_warm_up", never)
    assert prepare.prepare(demo_config(tmp_path)) == demo
    # An own policy on the demo's data needs the world alone; own data and an own policy need nothing.
    assert prepare.prepare(demo_config(tmp_path, model={"path": "my/policy"})) == prepare.Demo(demo.world, None)
    own = {"model": {"path": "my/policy"}, "data": {"reader": "jsonl", "path": str(demo.world / "studies.jsonl")}}
    assert prepare.prepare(demo_config(tmp_path, **own)) == prepare.Demo(None, None)
    with pytest.raises(AssertionError):  # another prompt needs another warm start
        prepare.prepare(demo_config(tmp_path, data={"prompt": "Describe. {indication}"}))
    with pytest.raises(AssertionError):
        prepare.prepare(demo_config(tmp_path, demo={"cache": str(tmp_path), "studies": 8, "seed": 1}))


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (8, 8), (192, 8)])
def test_a_machine_of_many_cores_does_not_spread_a_small_policy_over_all(cores, threads, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    assert warm_start.warm_up_threads() == threads
