"""`RadEvalJudge`: one metric of RadEval, batched, in the environment that RadEval is installed in.

    python -m judges.serve --use judges.radeval.judge:RadEvalJudge --args '{"metric": "radgraph"}' --port 8100

`launch/metrics_server.sh` makes that environment and serves several metrics at once.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import re
from collections.abc import Sequence
from typing import Any

from judges.base import MOST_VALUE, Case, Labels, Score
from judges.border import where
from judges.errors import JudgeError
from judges.radeval.isolate import Crash, isolate
from judges.radeval.metrics import metric_named
from judges.radeval.references import read_references
from judges.radeval.scorers import Scorer, make_scorer
from judges.radeval.weights import look_up

PROBE = ("Small left pleural effusion. No pneumothorax.", "Small left effusion. The heart is normal.")
WORD = re.compile(r"\w+|[^\w\s]+")  # as RadGraph counts them
Values = tuple["dict[str, float | None]", "Labels | None"]  # of one pair


class WeightsMissing(JudgeError):
    """A metric's weights are not on this machine, and the hub may not be asked for them."""

    def __init__(self, metric: str, missing: Sequence[str]) -> None:
        self.missing = "; ".join(missing)
        super().__init__(f"judge {metric}: weights are missing: {self.missing}. {remedy(metric)}")


def remedy(metrics: str) -> str:
    """What to do about missing weights."""
    return (
        f"Where the hub can be reached: bash launch/metrics_server.sh --download {metrics}; then copy these folders "
        "here, or set HF_HOME (the hub's cache), XDG_CACHE_HOME (the user's) and NLTK_DATA to where they lie."
    )


class RadEvalJudge:
    """Scores pairs by `metric`.

    key         which of RadEval's numbers is the value; None is the metric's usual one. The others are parts
    references  for radcliq: JSONL or CSV with the reference reports of the data set, by which it weighs words
    text        "raw": as sampled and as the data have it, as published numbers are; "cleaned": what other judges read
    batch       pairs that RadEval is given at once
    most_words  for radgraph and radcliq: a longer report is unscorable. RadGraph compares each part of a report with
                every other one, and what a few thousand words take ends the process

    A pair that crashes the metric, or of which it gives no finite number, is unscorable and costs no other pair.
    """

    def __init__(
        self,
        metric: str,
        key: str | None = None,
        references: str | None = None,
        text: str = "raw",
        batch: int = 256,
        most_words: int = 500,
    ) -> None:
        known = metric_named(metric)
        if text not in ("raw", "cleaned"):
            raise JudgeError(f"judge {metric}: text is {text!r}, expected 'raw' or 'cleaned'.")
        for name, number in {"batch": batch, "most_words": most_words}.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise JudgeError(f"judge {metric}: {name} is {number!r}, expected a whole number from 1 on.")
        self.name = self.metric = metric
        self.key, self.text, self.batch = key or known.key, text, batch
        self.most_words = most_words if known.radgraph else None
        self._references = read_references(references) if references else []
        self._scorer: Scorer | None = None

    @property
    def version(self) -> str:
        """RadEval's."""
        try:
            return importlib.metadata.version("radeval")
        except importlib.metadata.PackageNotFoundError:
            return ""

    @property
    def fingerprint(self) -> str:
        """What values depend on beside this code: RadEval, the weights, the reports that words are weighed by."""
        try:
            revisions = look_up(self.metric).revisions
        except ImportError:
            revisions = ()
        reports = hashlib.sha256("\0".join(self._references).encode()).hexdigest() if self._references else ""
        return "\0".join(("radeval", self.version, *revisions, reports))

    def start(self) -> None:
        """Load the metric and try it on one pair. Raises JudgeError if it can't score here, with what is missing."""
        try:
            self._start()
        except JudgeError:
            raise
        except ModuleNotFoundError as problem:
            raise JudgeError(
                f"judge {self.metric}: the module {problem.name!r} is not installed here. Serve it by "
                f"bash launch/metrics_server.sh {self.metric}, which makes an environment for it, and name it "
                f'{{use: "radeval:{self.metric}", args: {{url: ...}}}} in the configuration.'
            ) from problem
        except Exception as problem:  # whatever the libraries below raise for a broken file
            said = " ".join(str(problem).split())[:200]
            raise JudgeError(f"judge {self.metric}: loading it raised {where(problem)}: {said}") from problem

    def _start(self) -> None:
        self._check_weights()
        self._scorer = make_scorer(self.metric, self._references)
        [values] = isolate(self._compute, [PROBE])
        if isinstance(values, Crash):
            raise JudgeError(f"judge {self.metric}: on a trial pair: {values.raised}. Its weights may be damaged.")
        if self.key not in values[0]:
            raise JudgeError(
                f"judge {self.metric}: key is {self.key!r}, expected one of {', '.join(sorted(values[0]))}."
            )
        if values[0][self.key] is None:
            raise JudgeError(f"judge {self.metric}: no finite number for a trial pair. Its weights may be damaged.")

    def _check_weights(self) -> None:
        import huggingface_hub.constants as hub

        missing = look_up(self.metric).missing
        if missing and hub.HF_HUB_OFFLINE:
            raise WeightsMissing(self.metric, missing)

    def score(self, cases: Sequence[Case]) -> list[Score]:
        if self._scorer is None:
            self.start()
        scores: list[Score | None] = [None] * len(cases)
        pairs: list[tuple[int, tuple[str, str]]] = []
        for i, case in enumerate(cases):
            reference, candidate = self._texts(case)
            if problem := self._unfit(reference, candidate):
                scores[i] = Score.unscorable(problem)
            else:
                pairs.append((i, (reference, candidate)))
        for first in range(0, len(pairs), self.batch):
            some = pairs[first : first + self.batch]
            found = isolate(self._compute, [pair for _, pair in some])
            if all(isinstance(values, Crash) for values in found):
                self._must_still_work()
            for (i, _), values in zip(some, found):  # noqa: B905 - as long as each other
                scores[i] = self._as_score(values)
        return [score for score in scores if score is not None]

    def _unfit(self, reference: str, candidate: str) -> str:
        """Why a pair is not even shown to RadEval; empty if it is."""
        if not reference.strip():
            return "the reference report is empty"
        if self.most_words is not None:
            words = max(len(WORD.findall(text)) for text in (reference, candidate))
            if words > self.most_words:
                return f"{words} words and marks, most_words is {self.most_words}"
        return ""

    def _texts(self, case: Case) -> tuple[str, str]:
        if self.text == "raw":
            return case.raw_reference, case.raw_candidate
        return case.reference, case.candidate

    def _compute(self, pairs: Sequence[tuple[str, str]]) -> list[Values]:
        assert self._scorer is not None
        numbers = self._scorer([reference for reference, _ in pairs], [candidate for _, candidate in pairs])
        for key, values in numbers.values.items():
            if len(values) != len(pairs):
                raise ValueError(f"{key}: {len(values)} values")
        return [
            (
                {key: _finite(values[i]) for key, values in numbers.values.items()},
                numbers.labels[i] if numbers.labels is not None else None,
            )
            for i in range(len(pairs))
        ]

    def _must_still_work(self) -> None:
        """Raise JudgeError if the metric can't do the trial pair any more: then it is broken, and not the cases."""
        [values] = isolate(self._compute, [PROBE])
        if isinstance(values, Crash):
            raise JudgeError(
                f"judge {self.metric}: it can't score any more, not even the pair it began with: {values.raised}. "
                "Restart its server; out of memory, give it a GPU of its own or a smaller batch."
            )

    def _as_score(self, found: Values | Crash) -> Score:
        if isinstance(found, Crash):
            return Score.unscorable(f"{self.metric}: {found.raised}")
        numbers, labels = found
        value = numbers[self.key]
        parts = {key: number for key, number in numbers.items() if key != self.key and number is not None}
        if value is None:
            return Score.unscorable(f"{self.metric}: {self.key} is no finite number", **parts)
        return Score(value, parts=parts, labels=labels)


def _finite(number: Any) -> float | None:
    """The number as a float, None for NaN, infinity and what is no number."""
    try:
        found = float(number)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) and abs(found) <= MOST_VALUE else None
