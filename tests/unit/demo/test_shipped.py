"""The policies in the package: small, tied to their prompt, and they look at the image."""

import json
import sys
from pathlib import Path

import pytest
import torch

from online_rl.config import config_from_dict
from online_rl.config.data import CHEXALIGN_PROMPT
from online_rl.demo import prepare, shipped
from online_rl.demo.reader import read_report
from online_rl.rollout.prompts import PromptBuilder
from online_rl.truth.counts import Claims, pooled
from online_rl.truth.labels import label_names

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.usefixtures("one_thread")


def demo_config(cache, **sections):
    return config_from_dict({"demo": {"cache": str(cache), "studies": 8}, **sections})


def test_both_take_at_most_12_megabytes():
    assert sum(file.stat().st_size for file in shipped.FOLDER.iterdir()) <= 12e6


def test_they_are_tied_to_the_default_prompt():
    assert shipped.prompt() == CHEXALIGN_PROMPT == config_from_dict({}).data.prompt


@pytest.mark.parametrize(
    "change, fits",
    [
        ({}, True),
        ({"model": {"path": "demo-no-habits"}}, True),
        ({"data": {"prompt": "Describe. {indication}"}}, False),
        ({"data": {"system_prompt": "You are a radiologist."}}, False),
        ({"demo": {"warm_start_seconds": 8}}, False),
        ({"demo": {"reports": "iu-xray"}}, False),
        ({"demo": {"seed": 7, "studies": 100}}, True),
    ],
)
def test_another_prompt_or_other_reports_need_a_warm_up(change, fits):
    assert prepare.fits_shipped(config_from_dict(change)) == fits


def test_prepare_unpacks_the_policy_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "_warm_up", lambda *args: pytest.fail("warmed up"))
    start = prepare.prepare(demo_config(tmp_path)).policy
    without = prepare.prepare(demo_config(tmp_path, model={"path": "demo-no-habits"})).policy
    assert (
        start != without and (start / "model.safetensors").read_bytes() != (without / "model.safetensors").read_bytes()
    )
    assert prepare.prepare(demo_config(tmp_path)).policy == start
    for folder in (start, without):
        assert json.loads((folder / "config.json").read_text())["model_type"] == "idefics3"
        assert not (folder / shipped.BASE).exists()
    assert not list(tmp_path.glob("*.partial"))
    # Own data need no world.
    own = {"data": {"reader": "jsonl", "path": "studies.jsonl"}, "demo": {"cache": str(tmp_path), "seed": 5}}
    assert prepare.prepare(config_from_dict(own)) == prepare.Demo(None, start)
    # Another world has the same policy; another prompt has not.
    assert prepare.prepare(demo_config(tmp_path, demo={"cache": str(tmp_path), "studies": 9})).policy == start
    for other in ({"prompt": "Describe. {indication}"}, {"system_prompt": "You are a radiologist."}):
        with pytest.raises(pytest.fail.Exception, match="warmed up"):
            prepare.prepare(demo_config(tmp_path, data=other))


def test_a_policy_is_kept_by_the_system_turn_that_it_was_taught_with():
    """Without one its key is what it was before there were any, so that caches stay valid."""

    def key(**data):
        return prepare._policy_key(config_from_dict({"data": {"prompt": "Describe. {indication}", **data}}), "world")

    assert key() == prepare._key("world", "demo", None, "Describe. {indication}")
    assert len({key(), key(system_prompt=""), key(system_prompt="Be brief."), key(system_prompt="Be kind.")}) == 4


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Studies of the demo's own evaluation split, and the reports of both policies, with right and swapped images."""
    sys.path.insert(0, str(ROOT / "benchmarks"))  # as when the script is started
    from demo_policies import all_studies, load, with_other_image, write_reports

    from online_rl.demo.world import write_world

    world = write_world(tmp_path_factory.mktemp("shipped") / "world", 240, workers=1).parent
    studies = all_studies(world)["eval"][:40]
    assert len(studies) == 40
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    reports = {}
    for name in shipped.NAMES:
        model, builder = load(name, shipped.FOLDER)
        reports[name] = write_reports(model, builder, studies)
        if name == shipped.NO_HABITS:
            reports["swapped"] = write_reports(model, builder, with_other_image(studies))
    torch.set_num_threads(threads)
    return studies, reports


def figures(studies, reports):
    present = [read_report(text).present for text in reports]
    return pooled([Claims(said, label_names(study.columns)) for said, study in zip(present, studies, strict=True)])


def test_the_policy_without_habits_sees(written):
    studies, reports = written
    right, swapped = figures(studies, reports[shipped.NO_HABITS]), figures(studies, reports["swapped"])
    assert right["f1"] > 0.6 and right["f1"] - swapped["f1"] > 0.3
    readings = [read_report(text) for text in reports[shipped.NO_HABITS]]
    assert sum(reading.comparisons for reading in readings) == 0
    assert sum(len(reading.unknown) for reading in readings) < 0.05 * sum(reading.sentences for reading in readings)


def test_the_start_leaves_findings_out_and_compares(written):
    studies, reports = written
    start, without = (figures(studies, reports[name]) for name in shipped.NAMES)
    assert start["recall"] < 0.8 * without["recall"]
    compared = [read_report(text).comparisons > 0 for text in reports[shipped.START]]
    assert sum(compared) > 0.6 * len(compared)


def test_a_prompt_for_other_data_leaves_empty_what_the_demo_studies_lack(tmp_path, monkeypatch):
    asked_for, build = [], PromptBuilder.build
    monkeypatch.setattr(PromptBuilder, "build", lambda *args: asked_for.append(build(*args).text) or build(*args))
    asked = {"prompt": "Age {age|unknown}, before: {prior_report|none}. Describe.", "prior": "report"}
    cfg = demo_config(tmp_path, data=asked, demo={"studies": 24, "warm_start_seconds": 1, "cache": str(tmp_path)})
    policy = prepare.prepare(cfg).policy
    assert (policy / "model.safetensors").is_file()
    assert asked_for and all("Age unknown, before: none. Describe." in text for text in asked_for)
