"""Real chest X-rays and real reports, where they are at hand."""

from __future__ import annotations

import pytest

from tests.integration.launch import CONFIG, command_line, records, train

pytestmark = pytest.mark.long


def test_two_steps_on_real_images_with_their_notes(shared, work, small):
    data = ["data.reader=jsonl", f"data.path={shared / 'data' / 'cxr-notes' / 'studies.jsonl'}", "train.max_steps=2"]
    finished = train(work / "real", *small, *data, "rollout.max_model_len=512", f"run.dir={work / 'real.run'}").ok()
    lines = records(finished.run_dir)
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert line["sampling/sampling_logp_difference/mean"] < 1e-3
        assert "rewards/findings/mean" in line
    assert len(records(finished.run_dir, evaluations=True)) == 2
    assert not (finished.run_dir / "samples").exists()


def test_the_demo_learns_to_write_from_real_reports(shared, work):
    cache = work / "iu.cache"
    settings = [f"demo.reports={shared / 'data' / 'iu-xray'}", "demo.studies=64", "demo.warm_start_seconds=8"]
    command_line(work / "iu", "demo", "prepare", "--config", CONFIG, *settings, f"demo.cache={cache}").ok()
    (policy,) = cache.glob("policy-*")
    assert (policy / "config.json").is_file() and (policy / "model.safetensors").is_file()
    (world,) = cache.glob("world-*")
    assert len((world / "studies.jsonl").read_text().splitlines()) == 64
