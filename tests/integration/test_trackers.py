"""Trackers beside TensorBoard through their own libraries: the same values, read back from each one's local files.

pip install -r requirements/trackers.txt
"""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import struct
import time
from pathlib import Path

import pytest
from PIL import Image

from online_rl.monitor.trackers import open_trackers
from tests.unit.monitor.reading import open_monitor, sample
from tests.unit.monitor.test_trackers import EVALUATION, STEPS, written_to_tensorboard

pytestmark = pytest.mark.long


def needs(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (requirements/trackers.txt)")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Log two steps, an evaluation and a picture with one tracker beside TensorBoard; the run folder."""
    for variable in ("WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "TRACKIO_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "run" / "trackio"))

    def run(name: str) -> Path:
        needs(name)
        folder = tmp_path / "run"
        folder.mkdir()
        trackers = open_trackers([name], folder, {"train.learning_rate": 1e-6, "algorithm.name": "grpo"})
        monitor = open_monitor(folder, trackers=trackers)
        for step, metrics in STEPS.items():
            monitor.log(step, metrics)
        monitor.log_eval(2, EVALUATION)
        Image.new("L", (32, 32)).save(folder / "x.png")
        monitor.log_samples(0, [sample("s1", str(folder / "x.png"))])
        monitor.close()
        return folder

    return run


def same(found: dict[tuple[str, int], float], folder: Path) -> None:
    expected = written_to_tensorboard(folder)
    assert ("eval/findings/f1", 2) in expected and ("train/kl", 2) in expected
    assert found == {key: pytest.approx(value, rel=1e-6) for key, value in expected.items()}


def test_mlflow_has_the_values_of_tensorboard(run):
    folder = run("mlflow")
    from mlflow import MlflowClient

    client = MlflowClient((folder / "mlruns").as_uri())
    [found] = client.search_runs([client.get_experiment_by_name("online-rl").experiment_id])
    history = [m for name in found.data.metrics for m in client.get_metric_history(found.info.run_id, name)]
    same({(m.key, m.step): m.value for m in history}, folder)
    assert found.data.params["algorithm.name"] == "grpo" and found.info.status == "FINISHED"
    assert any("samples" in path.name for path in folder.glob("mlruns/**/*.png"))
    open_trackers(["mlflow"], folder, {})[0].close()
    assert len(client.search_runs([found.info.experiment_id])) == 1, "a resumed run goes into its own"


def test_trackio_has_the_values_of_tensorboard(run):
    folder = run("trackio")
    [file] = (folder / "trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        kept = database.execute("select step, metrics from metrics").fetchall()
    values = {(tag, step): value for step, text in kept for tag, value in json.loads(text).items()}
    same({key: float(value) for key, value in values.items() if isinstance(value, int | float)}, folder)
    assert any(isinstance(value, dict) and tag.startswith("samples/") for (tag, _), value in values.items())


def test_wandb_has_the_values_of_tensorboard(run):
    folder = run("wandb")
    [file] = folder.glob("wandb/offline-run-*/*.wandb")
    found = {}
    for row in wandb_history(complete(file)):
        step = row.pop("step")
        found |= {(tag, step): v for tag, v in row.items() if not tag.startswith(("_", "samples/"))}
    same(found, folder)
    assert list(folder.glob("wandb/offline-run-*/files/media/images/**/*.png"))


def complete(file: Path) -> list:
    """The records of the file once its writer, a process of wandb's own, has ended it with the run's exit."""
    deadline = time.monotonic() + 60
    while not (records := wandb_records(file)) or records[-1].WhichOneof("record_type") != "exit":
        assert time.monotonic() < deadline, f"wandb has not ended {file.name}"
        time.sleep(0.1)
    return records


def wandb_history(records: list) -> list[dict]:
    """The rows that were logged."""
    rows = [record.history.item for record in records if record.WhichOneof("record_type") == "history"]
    return [{i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items} for items in rows]


def wandb_records(file: Path) -> list:
    """What is in a `.wandb` file: LevelDB's log format, 7 bytes of header, blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, parts, records = file.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        parts, at = parts + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(Record.FromString(parts))
            parts = b""
    return records
