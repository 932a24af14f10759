"""What the tests of `online-rl eval` evaluate: a stand-in for vLLM that writes known reports, and its rows."""

from __future__ import annotations

import json
from pathlib import Path

from online_rl.rollout.types import Completion, Prompt, Rollouts

REFERENCE = "Small left pleural effusion. No pneumothorax."
FAR = "Left pneumothorax. Large right pleural effusion. Cardiomegaly."


class Writes:
    """Stands in for vLLM: the report of each study by its id, `of`, otherwise its reference report; none for None."""

    def __init__(self, **of: str | None) -> None:
        self.of = of
        self.asked: list[str] = []

    def __call__(self, studies):
        studies = [study for study in studies if self.of.get(study.study_id, "") is not None]

        def stream():
            for group, study in enumerate(studies):
                self.asked.append(study.study_id)
                text = self.of.get(study.study_id, study.reference)
                yield Completion(group, 0, Prompt(study, "", (), (1,), {}), (1, 2, 3), (0.0,) * 3, text, False)

        return Rollouts(stream(), len(studies), 1, 0)


def rows(into="out/policy") -> list[dict]:
    return [json.loads(line) for line in Path(into, "scores.jsonl").read_text().rstrip("\n").split("\n")]
