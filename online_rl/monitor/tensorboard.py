"""The TensorBoard event files of a run: scalars, histograms, text, samples, hyperparameters, and the chart pages.

TensorBoard keeps one kind of data per tag: a tag that holds scalars and a histogram loses both. Each kind therefore
has its own names: `train/...` and `eval/...` are scalars, `distribution/...` histograms, `samples/...` images.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from online_rl.monitor.chart_pages import layout_summary, pages, stacked_errors
from online_rl.whole_file import private_folder


class Board:
    """One event file per start of the run. On a resume, TensorBoard drops what earlier files hold past `start_step`.

    logged  scalar tags that the run has logged before it was resumed
    """

    def __init__(self, folder: Path, start_step: int, logged: Collection[str] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow import; ranks without a monitor never pay for it

        resumed = folder.is_dir() and any(folder.glob("events.out.tfevents.*"))
        # A purge drops steps >= purge_step. A fresh start in a used folder drops everything.
        purge_step = None if not resumed else start_step + 1 if start_step > 0 else 0
        private_folder(folder)  # pictures and texts of samples
        self._writer = SummaryWriter(str(folder), purge_step=purge_step, flush_secs=30)
        for events in folder.glob("events.out.tfevents.*"):
            events.chmod(0o600)
        self._tags = set(logged)
        self._pages: dict[str, Any] = {}

    def scalars(self, step: int, prefix: str, metrics: dict[str, float]) -> None:
        values = {f"{prefix}/{name}": value for name, value in metrics.items()}
        if prefix == "train":
            values |= stacked_errors(metrics)
        for tag, value in values.items():
            self._writer.add_scalar(tag, value, step)
        if not self._pages or not values.keys() <= self._tags:
            self._lay_out(step, values.keys())
        self._writer.flush()  # a killed run must not lose the steps that its checkpoint has

    def _lay_out(self, step: int, new: Collection[str]) -> None:
        """Write the chart pages anew where the new tags bring a chart; the plugin reads the newest."""
        self._tags |= set(new)
        shown = pages(self._tags)
        if shown != self._pages:
            self._pages = shown
            self._summary(layout_summary(shown), step)

    def histogram(self, step: int, name: str, values: list[float]) -> None:
        import numpy

        self._writer.add_histogram(f"distribution/{name}", numpy.asarray(values, dtype=numpy.float64), step)

    def text(self, step: int, tag: str, text: str) -> None:
        # Lone surrogates cannot be written as UTF-8.
        self._writer.add_text(tag, text.encode("utf-8", "replace").decode("utf-8"), step)

    def image(self, step: int, tag: str, image: Any) -> None:
        import numpy

        self._writer.add_image(tag, numpy.asarray(image.convert("RGB")), step, dataformats="HWC")

    def hparams(self, settings: dict[str, Any], metrics: Sequence[str]) -> None:
        """A row of the *HParams* tab: `settings`, and the last value of each of the scalar tags in `metrics`."""
        from torch.utils.tensorboard.summary import hparams

        experiment, session, _ = hparams(settings, dict.fromkeys(metrics, 0.0))  # the plugin reads the scalars itself
        self._summary(experiment, 0)
        self._summary(session, 0)
        self._writer.flush()

    def _summary(self, summary: Any, step: int) -> None:
        self._writer._get_file_writer().add_summary(summary, step)

    def close(self) -> None:
        self._writer.close()
