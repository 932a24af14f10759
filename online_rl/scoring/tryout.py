"""Judges tried on the data's own reference reports, each as its own candidate, before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from judges.base import Case, Judge, Score, Status
from judges.callable import CallableJudge
from judges.identity import innermost
from judges.length import LengthControlled
from online_rl.config import Config
from online_rl.data.prompt import study_prompt
from online_rl.data.study import Study
from online_rl.errors import JudgeError
from online_rl.scoring.calls import Calls, answer_of, out_of_reach
from online_rl.scoring.cases import make_case
from online_rl.scoring.scorer import Scorer
from online_rl.scoring.setup import DRY_CANDIDATE

REPORTS = 16  # reference reports that a judge is tried on


@dataclass(frozen=True)
class Tried:
    """What one judge made of reference reports as their own candidates.

    values   of those that it scored
    reasons  why it did not score the others -> how many; only our own judges' are kept, as others' may quote a report
    """

    name: str
    values: list[float]
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return len(self.values) + self.reasons.total()

    @property
    def unscorable_rate(self) -> float:
        """Share of the reference reports that it could not score, in [0, 1]."""
        return self.reasons.total() / max(1, self.total)

    def sentence(self) -> str:
        """What a reader should know of it, with the most frequent reason; no report text."""
        if not self.reasons:
            return f"scores all of {self.total} reference reports of the data"
        reason, _ = self.reasons.most_common(1)[0]
        why = f" ({reason})" if reason else ""
        return (
            f"cannot score {self.reasons.total()} of {self.total} reference reports of the data against themselves{why}"
        )


def spread(studies: Sequence[Study], count: int = REPORTS) -> list[Study]:
    """At most `count` studies, evenly over the whole, the first included."""
    step = max(1, len(studies) / count)
    return [studies[int(i * step)] for i in range(min(count, len(studies)))]


def try_on_references(calls: Calls, judge: Judge, studies: Sequence[Study], cfg: Config) -> Tried:
    """Have `judge`, which has been started, score each study's reference report against itself.

    Raises JudgeError if it breaks its contract, and JudgeFailed if it cannot be reached.
    """
    inner = judge.judge if isinstance(judge, LengthControlled) else judge  # its length is that of its reference
    ours = type(innermost(inner)).__module__.partition(".")[0] == "judges"
    others = not ours or isinstance(innermost(inner), CallableJudge)
    in_groups = others and getattr(judge, "granularity", "completion") == "group"
    answers = []
    for study, other in zip(studies, [*studies[1:], *studies[:1]], strict=True):  # a call each, as in training
        candidates = [study.reference]
        if in_groups:  # another report beside it: a reward may be relative to the others of its group
            candidates.append(other.reference if other is not study else DRY_CANDIDATE)
        answers.append(calls.submit(inner, [_case(study, candidate, cfg) for candidate in candidates]))
    scores = [answer_of(answer, judge, cfg.scoring.deadline_s).scores[0] for answer in answers]
    if any(score.status is Status.FAILED for score in scores):
        raise out_of_reach(judge, scores, cfg.scoring)
    values = [score.value for score in scores if score.value is not None]
    return Tried(judge.name, values, Counter(_reason(score, ours) for score in scores if score.value is None))


def _case(study: Study, candidate: str, cfg: Config) -> Case:
    ids = tuple(range(1, 1 + len(candidate.split())))
    return make_case(study, candidate, study_prompt(cfg.data.prompt, study), ids)


def _reason(score: Score, ours: bool) -> str:
    return score.detail.partition("\n")[0] if ours else ""


def references_that_judges_cannot_score(scorer: Scorer, studies: Sequence[Study], cfg: Config) -> list[str]:
    """Warnings for judges and guards that cannot score some of the data's reference reports.

    Raises JudgeError for a judge that cannot score more than scoring.max_unscorable_rate of them, which would stop the
    run at its first steps; a guard never stops it.
    """
    chosen, limit, warnings = spread(studies), cfg.scoring.max_unscorable_rate, []
    for judge, _ in scorer.judges:
        found = try_on_references(scorer.calls, judge, chosen, cfg)
        if judge.name not in scorer.guards and found.unscorable_rate > limit:
            raise JudgeError(
                f"judge {found.name!r} {found.sentence()}, over scoring.max_unscorable_rate={limit:g}: the run would "
                f"stop at its first steps. {REMEDY}"
            )
        if found.reasons:
            warnings.append(f"judge {found.name!r} {found.sentence()}. {REMEDY}")
    return warnings


REMEDY = (
    "Look whether they are in a language and form that it reads (our rules read English), or name a judge made for "
    "such reports."
)
