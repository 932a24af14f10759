"""How likely the policy finds what the reference reports call present, read word by word instead of written.

The policy is given the reference report behind its own prompt, and its log-probabilities are added up over the
sentences that call a finding present:

    reference        The heart is normal.  There is a small left effusion.
    finding tokens                         There is a small left effusion.     n of them, sum of log p

Compared between the right image and another patient's, it shows whether the policy sees a finding before its most
likely report names it, and needs no decoding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from judges.findings.parse import parse
from online_rl.config import Config
from online_rl.data.study import Study
from online_rl.errors import ConfigError
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.targets import TargetBuilder
from online_rl.truth.image_check import Likelihood

_SENTENCE = re.compile(r"[^\n\r]+?(?:(?<=[^.\s][.!?])(?=\s)|(?=[\n\r])|\Z)")


@dataclass(frozen=True)
class TeacherForcing:
    """Reads the references of studies with the policy that the engine holds.

    engine   has `likelihood`, as `RolloutEngine`
    targets  makes the reference report the completion of its study's prompt
    """

    engine: Any
    targets: TargetBuilder

    def __call__(self, studies: Sequence[Study]) -> dict[str, Likelihood]:
        """Study id -> log-probability of its finding tokens; without studies whose references call nothing present."""
        abnormal = [study for study in studies if any(finding_sentences(study.reference))]
        found = {}
        for completion, logps in self.engine.likelihood(self.targets.build_all(abnormal)):
            places = finding_tokens(self.targets.tokenizer, completion.ids[: len(logps)])
            if places:
                found[completion.prompt.study.study_id] = Likelihood(len(places), sum(logps[i] for i in places))
        return found


def teacher_forcing(engine: Any, builder: PromptBuilder, cfg: Config) -> TeacherForcing | None:
    """None for a policy whose chat template leaves no place for a reference report, such as one that reasons first."""
    try:
        return TeacherForcing(engine, TargetBuilder(builder, cfg))
    except ConfigError:
        return None


def finding_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences or lines begin and end that call a finding present when read alone.

    >>> list(finding_sentences("Normal heart. Small left effusion."))
    [(14, 34)]
    """
    for sentence in _SENTENCE.finditer(text):
        lead = len(sentence[0]) - len(sentence[0].lstrip())
        if any(finding.present for finding in parse(sentence[0]).findings.values()):
            yield sentence.start() + lead, sentence.end()


def finding_tokens(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """Places of the tokens that write the finding sentences of the report which `ids` spell."""
    ends = [len(tokenizer.decode(ids[: i + 1], skip_special_tokens=True)) for i in range(len(ids))]
    spans = list(finding_sentences(tokenizer.decode(ids, skip_special_tokens=True)))
    begins = [0, *ends[:-1]]
    return [
        i
        for i, (begin, end) in enumerate(zip(begins, ends, strict=True))
        if any(begin < stop and end > start for start, stop in spans)
    ]
