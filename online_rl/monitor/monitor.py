"""`Monitor`: the one place that a run reports to. It never stops training: what fails is warned about once.

The caller's own `on_step` is the exception: what it raises ends the run, on every rank.
"""

from __future__ import annotations

import atexit
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from judges.border import where
from online_rl.errors import UserError
from online_rl.monitor.best_worst import best_and_worst
from online_rl.monitor.console import open_display
from online_rl.monitor.guard_drift import GuardDrift
from online_rl.monitor.health import InUse, hints
from online_rl.monitor.profile import named, traced
from online_rl.monitor.records import MetricsFile, Record, read_records
from online_rl.monitor.starting_policy import StartingPolicy
from online_rl.monitor.step import Step
from online_rl.ranks.collectives import rank, together

if TYPE_CHECKING:
    from online_rl.monitor.trackers import Tracker
    from online_rl.scoring.scorer import Scored

CARDS = 4  # studies per evaluation that TensorBoard shows
REST_S = 300.0  # a tracker that failed is left alone for so long: each call to a service that is gone waits in vain
MAX_WARNINGS = 1000  # distinct messages; bounds the memory of a run that warns with changing numbers


class Monitor:
    """Console, TensorBoard and `metrics.jsonl` of one run.

    enabled     only rank 0 is; every call on a disabled monitor does nothing
    start_step  the step of the checkpoint that the run continues from; what was logged after it is dropped
    every       steps between two that show their best and worst report, the same on every rank; 0 for never. They hold
                report text
    beat        told what this rank is about to do, on every rank: the watchdog's
    """

    def __init__(
        self,
        run_dir: Path,
        max_steps: int,
        enabled: bool,
        tensorboard: bool,
        start_step: int = 0,
        title: str = "",
        every: int = 0,
        beat: Callable[[str], None] = lambda place: None,
        trackers: Sequence[Tracker] = (),
    ) -> None:
        self.run_dir = Path(run_dir)
        self.enabled = enabled
        self.on_step: Callable[[int, dict[str, float]], None] | None = None  # a caller's, on rank 0 after each step
        self.profile: Sequence[int] = ()  # steps that are traced, on every rank
        self._range: Callable[[str], AbstractContextManager[Any]] = nullcontext  # of a trace
        self.in_use: InUse | None = None  # what the configuration has set, for hints
        self._trackers = list(trackers)
        self._rests_until: dict[str, float] = {}  # tracker -> time.monotonic()
        self._best_and_worst_every = every
        self._beat, self._step = beat, start_step + 1
        self._shown: set[str] = set()
        self._display = self._metrics = self._board = None
        self._first_samples: dict[str, dict[str, Any]] = {}
        if not enabled:
            return
        self._display = open_display(max_steps, start_step, title)
        records: list[Record] = []  # of the run that is resumed
        with self._guard("metrics.jsonl"):
            self._metrics = MetricsFile(self.run_dir / "metrics.jsonl", start_step)
            records = read_records(self._metrics.path)
        self._start = StartingPolicy(records)
        self._drift = GuardDrift(records)
        if tensorboard:
            with self._guard("TensorBoard"):
                from online_rl.monitor.tensorboard import Board

                logged = {f"{record.get('split', 'train')}/{name}" for record in records for name in record}
                self._board = Board(self.run_dir / "tensorboard", start_step, logged)
        atexit.register(self.close)

    @contextmanager
    def step(self, number: int) -> Iterator[Step]:
        """Time one training step. `with monitor.step(12) as step: with step.phase("updating"): ...`"""
        self._step = number
        step = Step(number, self.phase)
        with self._tracing(number), step.timed("step"):
            yield step
        self._step = number + 1

    def log_step(
        self, step: int, scores: Scored, groups: Sequence[Sequence[Record]], metrics: dict[str, float]
    ) -> None:
        """Everything about a training step; every rank calls it, as the best report may lie on any.

        scores  this rank's, with their texts; groups are the records of all ranks
        """
        self.log(step, metrics)
        records = [record for group in groups for record in group]
        self.log_histograms(
            step,
            {
                "reward": [r["reward"] for r in records if r["reward"] is not None],
                "length_tokens": [r["tokens"] for r in records],
                "verbosity": [r["verbosity"] for r in records],
            },
        )
        if self._best_and_worst_every and step % self._best_and_worst_every == 0:
            self.log_best_and_worst(step, best_and_worst(scores.groups))
        for warning in scores.canaries.warnings:
            self.warn(f"step {step}: {warning}")

    def tell_caller(self, step: int, metrics: dict[str, float]) -> None:
        """Call the caller's `on_step` once the step is complete; what it raises ends the run, on every rank."""
        if self.on_step is not None:
            with together():
                if self.enabled:
                    _call(self.on_step, step, dict(metrics))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """One training step: TensorBoard `train/<name>`, one line of metrics.jsonl, console, health hints."""
        if not self.enabled or self._display is None:
            return
        metrics = self._floats(metrics)
        metrics |= self._start.of_step(step, metrics)
        self._keep(step, "train", metrics)
        with self._guard("console"):
            self._display.step(step, metrics)
        for kind, sentence in (*hints(metrics, self.in_use), *self._drift.hints(step, metrics)):
            self._show_once(f"hint:{kind}", f"hint: {sentence}")

    def log_eval(self, step: int, metrics: dict[str, float], split: str = "eval") -> None:
        """One evaluation: TensorBoard `<split>/<name>`, one line of metrics.jsonl with `"eval": true`."""
        if not self.enabled or self._display is None:
            return
        metrics = self._floats(metrics)
        metrics |= self._start.of_evaluation(step, metrics, split)
        self._keep(step, split, metrics, eval=True, split=split)
        with self._guard("console"):
            self._display.evaluation(step, metrics, split)
        if self._board and step > 0:
            with self._guard("TensorBoard"):
                self._draw_errors(step)

    def log_histograms(self, step: int, histograms: dict[str, Any]) -> None:
        """Distributions, as of a step's rewards: TensorBoard `distribution/<name>`. Not-finite values are left out."""
        for name, values in histograms.items():
            if self._board:
                with self._guard("TensorBoard"):
                    finite = [value for value in map(float, values) if math.isfinite(value)]
                    if finite:
                        self._board.histogram(step, name, finite)

    def log_text(self, step: int, tag: str, text: str) -> None:
        if self._board:
            with self._guard("TensorBoard"):
                self._board.text(step, tag, text)

    def log_samples(self, step: int, samples: Sequence[dict[str, Any]]) -> None:
        """The first few studies of an evaluation, TensorBoard `samples/<study>`: X-ray, reference report, the report
        of the starting policy, and the one of now. They hold report text: give only what the user asked for."""
        for sample in samples[:CARDS]:
            study = str(sample["study_id"])
            if step == 0:
                self._first_samples[study] = sample
            first = self._first_samples.get(study) or self._first_sample_on_disk(study)
            reports = [("Before training", first)] if first else []
            if step > 0:
                reports.append((f"Step {step}", sample))
            self._log_card(step, f"samples/{study}", f"Study {study}", sample, reports)

    def log_best_and_worst(self, step: int, samples: dict[str, dict[str, Any]]) -> None:
        """What `best_and_worst` found: TensorBoard `samples/best_of_step` and `samples/worst_of_step`."""
        for name, sample in samples.items():
            title = f"{name.capitalize()} report of step {step}"
            self._log_card(step, f"samples/{name}_of_step", title, sample, [("Sampled report", sample)])

    def log_config(self, yaml_text: str) -> None:
        """The resolved configuration, as text in TensorBoard."""
        self.log_text(0, "config", f"```yaml\n{yaml_text}\n```")

    def log_hparams(self, settings: dict[str, Any], metrics: Sequence[str]) -> None:
        """The run's row in TensorBoard's *HParams*: settings, and the last values of the tags in `metrics`."""
        if self._board:
            with self._guard("TensorBoard"):
                self._board.hparams(settings, metrics)

    def warn(self, message: str) -> None:
        """Show `message`; the same message is shown once."""
        self._show_once(message, f"warning: {message}")

    def note(self, message: str) -> None:
        """Show `message` as it is; the same message is shown once."""
        self._show_once(message, message)

    def say(self, message: str) -> None:
        """Show `message`, every time and from any thread."""
        if self._display is not None:
            with suppress(Exception):
                self._display.message(message)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Tell the watchdog, and show in the live display, that the run is "sampling and scoring" or the like."""
        self._beat(f"step {self._step}, {name}")
        with self._range(name):
            if self._display is None:
                yield
                return
            display = self._display  # the block may close the monitor
            display.enter(name)
            try:
                yield
            finally:
                display.leave()

    def _tracing(self, step: int) -> AbstractContextManager[None]:
        """Trace the step if it is to be, its phases as ranges with their names."""
        self._range = named if step in self.profile else nullcontext
        if step not in self.profile:
            return nullcontext()
        return traced(step, rank(), self.run_dir / "profile", self.note, self._guard("profile"))

    def close(self) -> None:
        """Flush and close. Calling it again does nothing."""
        trackers, self._trackers = self._trackers, []
        for tracker in trackers:  # while there is a console to say what a service has not taken
            with self._guard(tracker.name):
                tracker.close()
        board, self._board = self._board, None
        display, self._display = self._display, None
        self.enabled = False
        for part in (board, display):
            if part is not None:
                with suppress(Exception):  # a full disk was warned about when a step was logged
                    part.close()
        atexit.unregister(self.close)

    def _log_card(
        self, step: int, tag: str, title: str, sample: dict[str, Any], reports: Sequence[tuple[str, dict[str, Any]]]
    ) -> None:
        """`sample` with its image and reference report, and the `reports` (heading, sample) beside them."""
        if not self._board and not self._trackers:
            return
        with self._guard("samples"):
            from online_rl.pictures.before_after import open_image, reference_column, report_column
            from online_rl.pictures.cards import study_block

            columns = [reference_column(sample), *(report_column(head, report) for head, report in reports)]
            texts = [f"**{head}** ({note.replace(chr(10), ', ')})\n\n{text}" for head, note, text in columns]
            source = sample.get("image")
            image = open_image(source, self.run_dir) if source is None or isinstance(source, str) else source
            card = study_block(title, image, str(sample.get("indication") or ""), columns)
            if self._board:
                with self._guard("TensorBoard"):
                    self._board.image(step, tag, card)
                    self._board.text(step, tag, "\n\n".join(texts))
            self._tell_trackers(lambda tracker: tracker.image(step, tag, card))

    def _first_sample_on_disk(self, study: str) -> dict[str, Any] | None:
        """The sample of the starting policy, if the run was resumed and its first evaluation came before this start."""
        from online_rl.pictures.before_after import read_samples

        with suppress(OSError):
            self._first_samples = read_samples(self.run_dir / "samples" / "before.jsonl") | self._first_samples
        return self._first_samples.get(study)

    def _draw_errors(self, step: int) -> None:
        """The errors of the run so far as a stacked picture, TensorBoard `errors`; none where no judge counts them."""
        from online_rl.pictures.plots import errors_picture

        picture = errors_picture(self.run_dir)
        if picture and self._board:
            self._board.image(step, "errors", picture)

    def _keep(self, step: int, prefix: str, metrics: dict[str, float], **fields: Any) -> None:
        if self._metrics:
            with self._guard("metrics.jsonl"):
                self._metrics.write(step, metrics, **fields)
        if self._board:
            with self._guard("TensorBoard"):
                self._board.scalars(step, prefix, metrics)
        named_metrics = {f"{prefix}/{name}": value for name, value in metrics.items()}
        self._tell_trackers(lambda tracker: tracker.scalars(step, named_metrics))

    def _tell_trackers(self, tell: Callable[[Tracker], None]) -> None:
        """Call every tracker but those that rest after a failure."""
        for tracker in self._trackers:
            if time.monotonic() < self._rests_until.get(tracker.name, -math.inf):
                continue
            with self._guard(tracker.name):
                try:
                    tell(tracker)
                except Exception:
                    self._rests_until[tracker.name] = time.monotonic() + REST_S
                    raise

    def _floats(self, metrics: dict[str, Any]) -> dict[str, float]:
        values = {}
        for name, value in metrics.items():
            try:
                values[name] = math.nan if value is None else float(value)
            except (TypeError, ValueError):
                self.warn(f"metric {name!r} is a {type(value).__name__}, not a number; it is not logged.")
        return values

    def _show_once(self, key: str, line: str) -> None:
        if self._display is None or key in self._shown or len(self._shown) >= MAX_WARNINGS:
            return
        self._shown.add(key)
        with suppress(Exception):  # the console itself is gone (closed pipe); there is nowhere to say so
            self._display.message(line)

    @contextmanager
    def _guard(self, part: str) -> Iterator[None]:
        """Turn a failure of one part of the monitor into one warning."""
        try:
            yield
        except Exception as error:  # whatever it is, it must not stop training
            self._show_once(
                f"failed:{part}",
                f"warning: {part} cannot be written in {self.run_dir} ({type(error).__name__}: {error}). Training goes "
                "on without it; check that the folder is writable and the disk not full.",
            )
            if part == "TensorBoard" and isinstance(error, OSError):
                self._board = None  # its writer thread is dead and would raise at every step


def _call(on_step: Callable[[int, dict[str, float]], None], step: int, metrics: dict[str, float]) -> None:
    """Call the caller's function. Exceptions are the caller's to read; what would end Python becomes a UserError."""
    try:
        on_step(step, metrics)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as problem:
        raise UserError(
            f"on_step: raised {where(problem)} at step {step}. Raise an Exception to end the run."
        ) from problem
