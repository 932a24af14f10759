"""Trackers beside TensorBoard: W&B, MLflow and Trackio get the same scalars under the same names.

They are used through their own libraries. Accelerate's tracker classes log through a logger that refuses to work
without `PartialState`, which joins or makes the process group that DeepSpeed and vLLM have set up here.

Each is opened on rank 0 alone. What fails later is the monitor's to warn about: a tracker never stops training.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from online_rl.errors import ConfigError
from online_rl.whole_file import whole_file

PROJECT = "online-rl"
PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
MLFLOW_BATCH = 100  # parameters that MLflow takes at once
ID_FILE = "tracker_id"  # in the run folder


class Tracker(Protocol):
    name: str

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """`values` by the tags of TensorBoard, such as `train/reward`."""

    def image(self, step: int, tag: str, image: Any) -> None:
        """A PIL image."""

    def close(self) -> None: ...


def check_trackers(names: Sequence[str], run_dir: Path, confidential: bool = False) -> None:
    """Raise ConfigError for a tracker that is not installed, before a model loads.

    confidential  data may not leave: what is not a file is refused
    """
    wanted = [name for name in names if name in PACKAGES]
    for name in wanted:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise ConfigError(
                f"monitor.trackers: found {name}, which is not installed. pip install -r requirements/trackers.txt, or "
                "leave it out."
            )
    if confidential and "mlflow" in wanted and not _mlflow_uri(run_dir).startswith("file:"):
        raise ConfigError(
            f"MLFLOW_TRACKING_URI: found {_mlflow_uri(run_dir).partition(':')[0]}:... beside data.confidential=true, "
            "expected none, or file:FOLDER. Unset it."
        )


def open_trackers(
    names: Sequence[str], run_dir: Path, settings: Mapping[str, Any], fresh: bool = False
) -> list[Tracker]:
    """Open the trackers that are named, `tensorboard` aside.

    settings  hyperparameters, kept with the run
    fresh     the run starts at step 0, so that it continues no curves that are there already

    Raises ConfigError for one that cannot be opened, as without a login.
    """
    made: dict[str, Callable[[Path, dict[str, Any]], Tracker]] = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}
    opened: list[Tracker] = []
    if fresh:
        (run_dir / ID_FILE).unlink(missing_ok=True)
    for name in (name for name in names if name in made):
        try:
            opened.append(made[name](run_dir, dict(settings)))
        except Exception as problem:  # each library has kinds of its own
            for tracker in opened:
                with suppress(Exception):
                    tracker.close()
            raise ConfigError(
                f"monitor.trackers: {name} cannot be opened ({type(problem).__name__}: {problem}). Log in, set its "
                "offline mode (docs/watching.md), or leave it out."
            ) from problem
    return opened


class Wandb:
    """Weights & Biases. WANDB_MODE=offline keeps everything in the run folder; WANDB_PROJECT names the project."""

    name = "wandb"

    def __init__(self, run_dir: Path, settings: dict[str, Any]) -> None:
        import wandb

        self._wandb = wandb
        offline = os.environ.get("WANDB_MODE") in ("offline", "dryrun")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run_dir.name,
            id=run_id(run_dir),
            resume=None if offline else "allow",
            dir=str(run_dir),
            config=settings,
            # No console, code or Git diff: a run's scalars are what was asked for.
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )
        # Not W&B's own step, which may only grow: a resumed run logs steps again, an evaluation follows its step.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "step": step})

    def image(self, step: int, tag: str, image: Any) -> None:
        self._run.log({tag: self._wandb.Image(image), "step": step})

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """MLflow: into `mlruns` in the run folder, or where MLFLOW_TRACKING_URI says."""

    name = "mlflow"

    def __init__(self, run_dir: Path, settings: dict[str, Any]) -> None:
        uri = _mlflow_uri(run_dir)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # its own 7 take minutes, and training waits
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        if uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # else MLflow 3 refuses plain files
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric = Metric
        self._client = MlflowClient(uri)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = self._client.get_experiment_by_name(name)
        place = experiment.experiment_id if experiment else self._client.create_experiment(name)
        own_id = run_id(run_dir)
        found = self._client.search_runs([place], f"tags.online_rl_run = '{own_id}'", max_results=1)
        if found:
            self._run = found[0].info.run_id
            self._client.update_run(self._run, "RUNNING")
            return
        tags = {"online_rl_run": own_id}
        self._run = self._client.create_run(place, run_name=run_dir.name, tags=tags).info.run_id
        params = [Param(_plain(key), str(value)) for key, value in settings.items()]
        for start in range(0, len(params), MLFLOW_BATCH):
            self._client.log_batch(self._run, params=params[start : start + MLFLOW_BATCH])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        metrics = [self._metric(_plain(tag), value, now, step) for tag, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def image(self, step: int, tag: str, image: Any) -> None:
        self._client.log_image(self._run, image, key=_plain(tag), step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run)


class Trackio:
    """Trackio: into `trackio` in the run folder, or where TRACKIO_DIR says; `trackio show --project online-rl`."""

    name = "trackio"

    def __init__(self, run_dir: Path, settings: dict[str, Any]) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(run_dir.absolute() / "trackio"))  # it is read on import
        import trackio

        self._trackio = trackio
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=run_dir.name,
            config=settings,
            resume="allow",
            embed=False,
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def image(self, step: int, tag: str, image: Any) -> None:
        self._run.log({tag: self._trackio.Image(image)}, step=step)

    def close(self) -> None:
        self._run.finish()


def _mlflow_uri(run_dir: Path) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or (run_dir.absolute() / "mlruns").as_uri()


def run_id(run_dir: Path) -> str:
    """The same for a run and what it is resumed as: random, and kept in the run folder.

    A path would not do: a folder may be removed and made again, and each container has the same ones.
    """
    file = run_dir / ID_FILE
    with suppress(FileNotFoundError):
        if kept := file.read_text(encoding="utf-8").strip():
            return kept
    made = secrets.token_hex(8)
    with whole_file(file) as partial:
        partial.write_text(f"{made}\n", encoding="utf-8")
    return made


def _plain(name: str) -> str:
    """MLflow's names take letters, digits and a few marks."""
    return re.sub(r"[^\w\-. :/]", "_", name)
