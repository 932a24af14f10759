"""Before and after a run: the doctor finds it fit, its checkpoint is exported, loaded and drawn, as users would."""

from __future__ import annotations

import json

import pytest

from tests.integration.launch import CONFIG, Finished, command_line, train


@pytest.fixture(scope="session")
def tiny(work, small) -> Finished:
    """One step on one rank."""
    settings = [*small, "train.max_steps=1", "eval.studies=2", "train.micro_batch_tokens=1024"]
    return train(work / "tiny", *settings, f"run.dir={work / 'tiny.run'}", ranks=1).ok()


def test_the_doctor_finds_the_demo_fit(work, small):
    arguments = ["doctor", "--config", CONFIG, "--json", "--world-size", "2", *small, f"run.dir={work / 'never.run'}"]
    answer = json.loads(command_line(work / "doctor", *arguments).ok().out)
    assert answer["ok"], answer
    found = {finding["check"]: finding["state"] for finding in answer["findings"]}
    assert found["judge findings"] == found["images"] == found["disk"] == "ok"


def test_a_checkpoint_is_exported_and_both_engines_load_it(tiny, work):
    from safetensors.torch import load_file

    out = work / "exported"
    done = command_line(work / "export", "export", str(tiny.run_dir), "--output", str(out)).ok()
    assert done.out.strip() == str(out)
    card = (out / "README.md").read_text()
    assert "vLLM" in card and "not for clinical use" in card and "It was not tried" not in card
    own, exported = load_file(tiny.run_dir / "model" / "model.safetensors"), load_file(out / "model.safetensors")
    assert own.keys() == exported.keys()
    assert all(own[name].equal(exported[name]) for name in own)
    assert not list(work.glob(".exported*")), "nothing is left beside it"


def test_the_run_is_drawn_into_one_file(tiny, work):
    done = command_line(work / "plot", "plot", str(tiny.run_dir), "--html", "-o", str(work / "drawn")).ok()
    assert str(work / "drawn" / "report.html") in done.out and not done.err
