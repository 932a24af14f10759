"""What holds report text is for its owner alone, and nobody else's text, number or code gets in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from judges.base import Case, Score, Status
from judges.callable import CallableJudge
from judges.errors import JudgeError
from judges.wire import decode_score
from online_rl import checkpoint
from online_rl.config import config_from_dict
from online_rl.config.yaml_text import parse_yaml
from online_rl.data.images import load_image
from online_rl.errors import CheckpointError, ConfigError, ImageError
from online_rl.monitor import Monitor
from online_rl.pictures.html_report import write_html
from online_rl.samples import write_samples


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> set[str]:
    """`folder mode`, `file mode` of what lies in it."""
    return {f"{'folder' if p.is_dir() else 'file'} {p.stat().st_mode & 0o777:o}" for p in [folder, *folder.rglob("*")]}


def test_samples_events_and_pages_are_readable_by_their_owner_alone(tmp_path):
    sample = {"study_id": "s", "image": Image.new("L", (8, 8)), "reference": "a", "candidate": "b", "reward": 0.5}
    (tmp_path / "tensorboard").mkdir()  # of an earlier version, readable by all
    monitor = Monitor(tmp_path, 2, enabled=True, tensorboard=True)
    monitor.log_samples(0, [{**sample, "verbosity": 1.0, "indication": "", "scores": {}}])
    monitor.close()
    write_samples([{**sample, "image": ""}], tmp_path / "samples" / "before.jsonl")
    write_html("t", [], [], tmp_path / "report.html")
    for folder in ("tensorboard", "samples"):
        assert modes(tmp_path / folder) == {"folder 700", "file 600"}, folder
    assert (tmp_path / "report.html").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", [1e308, -1e16, float("nan"), float("inf"), True, 10**400])
def test_a_value_that_no_advantage_can_be_computed_of_is_refused(value):
    with pytest.raises((ValueError, OverflowError)):
        Score(value)
    with pytest.raises((ValueError, OverflowError)):
        Score(0.5, parts={"x": value})
    assert decode_score({"status": "scored", "value": value}).status is Status.UNSCORABLE
    assert decode_score({"status": "scored", "value": 0.5, "parts": {"x": value}}).status is Status.UNSCORABLE
    if value is not True:  # which a function may return for 1, as in TRL
        with pytest.raises(JudgeError, match="expected a finite float"):
            CallableJudge(lambda completions: [value]).score([Case("s", "a", "b")])


def test_deep_yaml_is_refused_plainly():
    with pytest.raises(ConfigError, match="mine.yaml: nested too deeply"):
        parse_yaml("[" * 5000 + "]" * 5000, "mine.yaml")


def test_an_image_as_text_is_not_printed():
    with pytest.raises(ImageError) as refused:
        load_image("data:image/png;base64," + "QUJD" * 4000, 64, "studies.jsonl:3")
    message = str(refused.value)
    assert "QUJDQUJDQUJD" not in message and "16022 characters" in message and "studies.jsonl:3" in message


def test_a_checkpoint_that_another_user_could_have_written_is_not_loaded(tmp_path, monkeypatch):
    class Weights:
        def save(self, folder):
            (folder / "weights").write_bytes(b"w")

    cfg = config_from_dict({"run": {"dir": str(tmp_path)}, "resume": "auto"})
    folder = checkpoint.save(tmp_path, 1, Weights(), {}, cfg)
    assert checkpoint.find(cfg, pytest.fail).step == 1
    (tmp_path / "checkpoints").chmod(0o777)
    with pytest.raises(CheckpointError, match="can be written by anybody"):
        checkpoint.find(cfg, pytest.fail)
    (tmp_path / "checkpoints").chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder, 12345, -1)
        named = cfg.model_copy(update={"resume": str(folder)})
        with pytest.raises(CheckpointError, match="belongs to user 12345"):
            checkpoint.find(named, pytest.fail)
