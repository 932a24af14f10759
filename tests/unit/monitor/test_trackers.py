"""Trackers beside TensorBoard: what they get, what is refused, one that fails. The libraries: tests/integration."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.errors import ConfigError
from online_rl.monitor.monitor import REST_S
from online_rl.monitor.trackers import check_trackers, open_trackers
from tests.unit.monitor.reading import events, lines, open_monitor, sample

STEPS = {1: {"reward": 0.25, "judge/findings/false_finding": 1.5}, 2: {"reward": 0.5, "kl": 1e-9}}
EVALUATION = {"reward": 0.125, "findings/f1": 0.75}


def written_to_tensorboard(folder: Path) -> dict[tuple[str, int], float]:
    accumulator = events(folder)
    tags = [tag for tag in accumulator.Tags()["scalars"] if not tag.startswith("errors")]
    logged = {f"{record.get('split', 'train')}/{name}" for record in lines(folder) for name in record}
    return {(tag, e.step): e.value for tag in tags if tag in logged for e in accumulator.Scalars(tag)}


class Broken:
    name = "broken"

    def scalars(self, step, values):
        raise RuntimeError("the service is gone")

    image = close = scalars


def test_a_tracker_that_fails_never_stops_training(tmp_path, capsys):
    monitor = open_monitor(tmp_path, trackers=[Broken()])
    for step, metrics in STEPS.items():
        monitor.log(step, metrics)
    monitor.log_eval(2, EVALUATION)
    monitor.close()
    said = capsys.readouterr()
    assert (said.out + said.err).count("broken cannot be written") == 1
    assert [record["step"] for record in lines(tmp_path)] == [1, 2, 2]
    assert ("train/reward", 2) in written_to_tensorboard(tmp_path)


def test_a_tracker_that_fails_rests_before_it_is_asked_again(tmp_path, monkeypatch, capsys):
    """Each call to a service that is gone may block, and training must go on."""
    now, asked = [1000.0], []
    monkeypatch.setattr("online_rl.monitor.monitor.time", types.SimpleNamespace(monotonic=lambda: now[0]))

    class Gone(Keeps):
        def scalars(self, step, values):
            asked.append(step)
            if step < 4:
                raise ConnectionError("the service is gone")
            super().scalars(step, values)

    gone, other = Gone(), Keeps()
    other.name = "other"
    monitor = open_monitor(tmp_path, trackers=[gone, other], tensorboard=False)
    for step, seconds in {1: 0.0, 2: 1.0, 3: REST_S, 4: 1.0, 5: REST_S, 6: 1.0}.items():
        now[0] += seconds
        monitor.log(step, {"reward": 0.5})
    monitor.close()
    assert asked == [1, 3, 5, 6] and gone.closed == 1
    assert [step for _, step in other.kept] == [1, 2, 3, 4, 5, 6]


class Keeps:
    name = "keeps"

    def __init__(self) -> None:
        self.kept, self.images, self.closed = {}, [], 0

    def scalars(self, step, values):
        self.kept |= {(tag, step): value for tag, value in values.items()}

    def image(self, step, tag, image):
        self.images.append((step, tag, image.size))

    def close(self):
        self.closed += 1


def test_a_tracker_gets_what_tensorboard_gets_under_the_same_names(tmp_path):
    tracker = Keeps()
    monitor = open_monitor(tmp_path, trackers=[tracker])
    for step, metrics in STEPS.items():
        monitor.log(step, metrics)
    monitor.log_eval(2, EVALUATION | {"nothing": math.nan})
    Image.new("L", (32, 32)).save(tmp_path / "x.png")
    monitor.log_samples(0, [sample("s1", str(tmp_path / "x.png"))])
    monitor.close()
    monitor.close()
    assert math.isnan(tracker.kept.pop(("eval/nothing", 2)))
    expected = {k: v for k, v in written_to_tensorboard(tmp_path).items() if k[0] != "eval/nothing"}
    assert tracker.kept == {key: pytest.approx(value, rel=1e-6) for key, value in expected.items()}
    assert [(step, tag) for step, tag, _ in tracker.images] == [(0, "samples/s1")] and tracker.closed == 1


def test_a_tracker_that_is_not_installed_is_named_before_a_model_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"found wandb, which is not installed.*requirements/trackers\.txt"):
        check_trackers(["tensorboard", "wandb"], tmp_path)
    check_trackers(["tensorboard"], tmp_path)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_protected_data_have_no_tracker_with_a_socket(name, tmp_path, monkeypatch):
    settings = {"monitor": {"protected": True, "trackers": ["tensorboard", name]}}
    with pytest.raises(
        ConfigError, match=f"found {name} beside data.confidential=true, expected tensorboard or mlflow"
    ):
        config_from_dict(settings)
    config_from_dict({"monitor": {"protected": True, "trackers": ["mlflow"]}})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://tracking.example.com")
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI: found https:\.\.\. beside data.confidential=true"):
        check_trackers(["mlflow"], tmp_path, confidential=True)
    check_trackers(["mlflow"], tmp_path)


def test_names_that_contradict_or_are_unknown_are_refused():
    with pytest.raises(ConfigError, match="found tensorboard beside monitor.tensorboard=false"):
        config_from_dict({"monitor": {"tensorboard": False, "trackers": ["tensorboard"]}})
    with pytest.raises(ConfigError, match=r"monitor\.trackers"):
        config_from_dict({"monitor": {"trackers": ["comet"]}})


def test_a_tracker_that_cannot_be_opened_is_named_with_its_remedy(tmp_path, monkeypatch):
    import online_rl.monitor.trackers as trackers

    def no_login(*_):
        raise PermissionError("no API key")

    monkeypatch.setattr(trackers, "Wandb", no_login)
    with pytest.raises(ConfigError, match=r"wandb cannot be opened \(PermissionError: no API key\).*offline mode"):
        open_trackers(["wandb"], tmp_path, {})


class Wandb:
    """A stand-in for the library: what `init` is told."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def init(self, **told):
        self.ids.append(told["id"])
        return types.SimpleNamespace(define_metric=lambda *_, **__: None)

    def Settings(self, **_):
        return None


def test_a_run_is_known_by_its_folder_s_own_id_and_never_by_its_path(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", library := Wandb())
    folder = tmp_path / "run"

    def start(fresh: bool) -> str:
        folder.mkdir(exist_ok=True)
        open_trackers(["wandb"], folder, {}, fresh)
        return library.ids[-1]

    first = start(fresh=True)
    assert start(fresh=False) == first, "a resumed run continues its curves"
    assert start(fresh=True) != first, "one that begins anew, as before its first checkpoint, does not"
    before = start(fresh=False)
    shutil.rmtree(folder)
    assert start(fresh=True) != before
    assert [path.name for path in folder.iterdir()] == ["tracker_id"]


class Mlflow:
    """A stand-in for MLflow's client, which notes what its requests would be held to."""

    def __init__(self, uri: str) -> None:
        self.limits = {name: os.environ.get(name) for name in LIMITS}

    def get_experiment_by_name(self, name):
        return types.SimpleNamespace(experiment_id="0")

    def search_runs(self, *_, **__):
        return []

    def create_run(self, *_, **__):
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r"))


LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@pytest.mark.parametrize("own", [{}, {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}])
def test_mlflow_gives_up_soon_unless_told_otherwise(tmp_path, monkeypatch, own):
    for name in (*LIMITS, "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.setenv(name, "")  # so that it is put back as it was
        monkeypatch.delenv(name)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    entities = types.SimpleNamespace(Metric=None, Param=None)
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(MlflowClient=Mlflow, entities=entities))
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    [tracker] = open_trackers(["mlflow"], tmp_path, {}, fresh=True)
    assert tracker._client.limits == LIMITS | own
