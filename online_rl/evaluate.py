"""Evaluation: greedy reports of held-out studies, scored by the same judges, and which of them was the best so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from online_rl import checkpoint
from online_rl.checkpoint import Best
from online_rl.config import Config
from online_rl.data.study import Study
from online_rl.errors import ConfigError
from online_rl.metrics import gather_groups, is_better_greater, summarise
from online_rl.monitor import Monitor
from online_rl.monitor.alarms import Alarms, image_rows
from online_rl.monitor.records import Record, read_records
from online_rl.ranks import collectives
from online_rl.rollout.prompts import PromptBuilder
from online_rl.samples import image_path, make_sample, write_samples
from online_rl.scoring.scorer import Candidate, Scorer
from online_rl.teacher_forcing import TeacherForcing
from online_rl.truth.findings import NO_FINDINGS
from online_rl.truth.held_out import held_out
from online_rl.truth.image_check import ImageCheck, Likelihood, check_images
from online_rl.truth.labels import Reader
from online_rl.truth.lost import Lost, told
from online_rl.truth.results import Result, result_of, truth_metrics
from online_rl.vqa.exam import Exam


@dataclass(frozen=True)
class Evaluation:
    """metrics over all ranks; samples, for `samples/*.jsonl`, on rank 0 only; results of all ranks, by study."""

    metrics: dict[str, float]
    samples: list[dict[str, Any]]
    results: list[Result] = field(default_factory=list)


def evaluate(
    engine: Any,
    builder: PromptBuilder,
    scorer: Scorer,
    studies: Sequence[Study],
    samples: int,
    reader: Reader | None = None,
) -> Evaluation:
    """Write the most likely report of every study, score it, and compare what it calls present with what is there.

    samples  studies whose texts are kept; 0 keeps none, so that no report leaves the memory of this process
    reader   reads reports for the comparison with drawn labels, if the studies have any

    An error of one rank is raised on all.
    """
    mine = collectives.every_nth(studies)
    with collectives.together():
        groups = scorer.score(engine.greedy(builder.build_all(mine))).groups  # also of none: partners share an engine
    results = _gather_results(groups, studies, reader)
    metrics = summarise(gather_groups(groups)) | truth_metrics(results)
    chosen = {study.study_id for study in list(studies)[:samples]}
    firsts = [(group[0], group[0].completion.prompt.study) for group in groups]
    rows = [make_sample(first, image_path(study)) for first, study in firsts if study.study_id in chosen]
    everyone = [row for part in collectives.gather(rows) for row in part] if samples else []
    kept = sorted(everyone, key=lambda row: row["study_id"]) if collectives.rank() == 0 else []
    return Evaluation(metrics, kept, results)


def _gather_results(
    groups: Sequence[Sequence[Candidate]], studies: Sequence[Study], reader: Reader | None
) -> list[Result]:
    """The results of all ranks, in the order of `studies`; one whose image is unreadable has none."""
    mine: list[Result] = []
    with collectives.together():
        mine = [
            result_of(first.completion.prompt.study, first.completion.text.strip(), first.reward, reader)
            for first, *_ in groups
        ]
    by_id = {result.study_id: result for part in collectives.gather(mine) for result in part}
    return [by_id[study.study_id] for study in studies if study.study_id in by_id]


@dataclass
class Evaluator:
    """Evaluates the policy that the engine holds, reports to the monitor, and knows the first and the best result.

    studies  held-out studies, the same list on every rank
    alarms   compare every evaluation with the first one
    reader   reads reports for `labels/...`; None without drawn labels
    forcing  reads reference reports for the image check; None for a policy that has no place for them
    exam     closed questions that every evaluation asks; None without any
    before   the evaluation of the starting policy
    rang     what alarms have said since this process began, those of the starting policy aside
    lost     findings that the start wrote better than the policy of the last evaluation
    best     the best evaluation so far by `eval.metric_for_best_model`; None without that key
    """

    cfg: Config
    studies: Sequence[Study]
    builder: PromptBuilder
    engine: Any
    scorer: Scorer
    monitor: Monitor
    alarms: Alarms = field(default_factory=Alarms)
    reader: Reader | None = None
    forcing: TeacherForcing | None = None
    exam: Exam | None = None
    before: Evaluation | None = None
    best: Best | None = None
    rang: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)

    def evaluate(self, step: int, name: str, log: bool = True) -> Evaluation:
        """Evaluate, and write `samples/<name>.jsonl` if samples are kept.

        step  of the policy that the engine holds
        log   False for a step that the curves have already, as when the best checkpoint is evaluated at the end
        """
        with self.monitor.phase(f"evaluating ({name})"):
            evaluation = self._write(self._chosen, self.cfg.monitor.samples)
        image = self._check_images(step, name, evaluation.results)
        if image:
            evaluation.metrics.update(image.metrics())
        if self.exam:
            with self.monitor.phase("evaluating (closed questions)"):
                evaluation.metrics.update(self.exam.metrics())
        if log:
            self._ring(step, evaluation, image)
        else:
            self.lost = self.alarms.lost(held_out(evaluation.results)) or []
        if step == 0:
            self.before = evaluation
        path = Path(self.cfg.run.dir) / "samples" / f"{name}.jsonl"
        try:
            if collectives.rank() == 0:
                write_samples(evaluation.samples, path)
        except OSError as problem:
            self.monitor.warn(f"{path}: the samples cannot be written ({problem.strerror}). Training continues.")
        if log:
            self.monitor.log_eval(step, evaluation.metrics)
            self.monitor.log_samples(step, evaluation.samples)
        return evaluation

    @property
    def _chosen(self) -> Sequence[Study]:
        return self.studies[: self.cfg.eval.studies]

    def _write(self, studies: Sequence[Study], samples: int = 0) -> Evaluation:
        return evaluate(self.engine, self.builder, self.scorer, studies, samples, self.reader)

    def _read(self, studies: Sequence[Study]) -> dict[str, Likelihood]:
        """How likely the policy finds the references of these studies, which the ranks share."""
        found: dict[str, Likelihood] = {}
        with collectives.together():
            if self.forcing:
                found = self.forcing(collectives.every_nth(studies))
        return {study_id: read for part in collectives.gather(found) for study_id, read in part.items()}

    def _check_images(self, step: int, name: str, results: Sequence[Result]) -> ImageCheck | None:
        """Evaluate again with other patients' images if `eval.image_check` asks for it at this step."""
        when = self.cfg.eval.image_check
        if not results or when == "never" or (when == "ends" and name not in ("before", "after")):
            return None
        with self.monitor.phase("evaluating (images exchanged)"):
            image = check_images(
                self._chosen,
                {result.study_id: result for result in results},
                lambda studies: {result.study_id: result for result in self._write(studies).results},
                self._read if self.forcing else None,
            )
        self.monitor.note(f"step {step}: {image.verdict()}")
        return image

    def _ring(self, step: int, evaluation: Evaluation, image: ImageCheck | None) -> None:
        """Add the alarms to the metrics, and say those that are new."""
        if evaluation.results and "findings/none_share" not in evaluation.metrics:
            self.monitor.warn(NO_FINDINGS)
        now = held_out(evaluation.results)
        news = self.alarms.check(now, image_rows(image) if image else None)
        for sentence in news:
            self.monitor.note(f"alarm: step {step}, {sentence}")
        self.rang += news if step else []  # what the starting policy does is no collapse
        evaluation.metrics.update(self.alarms.metrics())
        lost = self.alarms.lost(now)
        if lost is not None:
            evaluation.metrics["findings/lost"] = float(len(lost))
        self.lost = lost or []
        if lost:
            self.monitor.note(f"step {step}: {told(lost)}")

    def is_due(self, step: int) -> bool:
        """Whether `eval.every` asks for an evaluation at this step, which is not the run's last."""
        every = self.cfg.eval.every
        return bool(every) and step % every == 0 and step < self.cfg.train.max_steps

    def is_missing(self, step: int) -> bool:
        """Whether an evaluation was due at the step that a run resumes from, and did not come to its end."""
        return self.is_due(step) and all(record["step"] != step for record in self._records(step))

    def is_best(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Whether this evaluation is the best so far by `eval.metric_for_best_model`, which it then becomes.

        Raises ConfigError if the first evaluation lacks that metric.
        """
        metric = self.cfg.eval.metric_for_best_model
        if metric is None or not metrics:
            return False
        value = metrics.get(metric)
        if step == 0:  # the starting policy is no checkpoint
            if value is None:
                raise ConfigError(
                    f"eval.metric_for_best_model: found {metric!r}, which the first evaluation lacks; expected one of "
                    f"{', '.join(sorted(metrics))}. Correct it."
                )
            return False
        if value is None or not math.isfinite(value):
            self.monitor.warn(f"step {step}: the evaluation has no {metric}, so it cannot be the best.")
            return False
        if self.best and not (value > self.best.value if self._greater_is_better() else value < self.best.value):
            return False
        self.best = Best(step, metric, value)
        return True

    def find_best(self, step: int) -> bool:
        """Look up the best evaluation up to `step` whose checkpoint is still there. False if none is asked for."""
        metric = self.cfg.eval.metric_for_best_model
        if metric is None:
            return False
        best = checkpoint.best_of(Path(self.cfg.run.dir), self._records(step), metric, self._greater_is_better())
        self.best = collectives.gather(best)[0]
        return True

    def remember_alarms(self, step: int) -> None:
        """Turn on what rang up to `step`: a checkpoint may be older than the evaluation of its own step."""
        for record in self._records(step):
            self.alarms.remember(record["step"], record)

    def state_dict(self) -> dict[str, Any]:
        return {"before": self.before.metrics if self.before else {}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.before = Evaluation(state["before"], [])

    def _greater_is_better(self) -> bool:
        given = self.cfg.eval.greater_is_better
        return is_better_greater(self.cfg.eval.metric_for_best_model or "") if given is None else given

    def _records(self, step: int) -> list[Record]:
        """The evaluations that metrics.jsonl has up to this step; rank 0 reads the file for all ranks."""
        path, records = Path(self.cfg.run.dir) / "metrics.jsonl", []
        if collectives.rank() == 0 and path.is_file():
            records = read_records(path, lambda r: r.get("eval") is True and 0 < r["step"] <= step)
        return collectives.gather(records)[0]
