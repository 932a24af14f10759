"""The same closed questions at every evaluation of a training: what the policy forgets while it learns.

vqa/accuracy              share of all questions that are answered rightly
vqa/<source>/accuracy     of one set
vqa/<source>/unreadable   share of its answers that are no answer, which count as wrong
vqa/<source>/not_asked    questions whose image cannot be decoded; absent if there are none
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from online_rl.config import Config
from online_rl.data.quarantine import Quarantine
from online_rl.errors import DataError
from online_rl.ranks import collectives
from online_rl.rollout.prompts import PromptBuilder
from online_rl.vqa.answers import is_right, read_answer
from online_rl.vqa.formats import read_questions
from online_rl.vqa.questions import PROMPT, Question, as_study

WORLD = "world"  # in the place of a file: the studies that the demo has drawn
ANSWER_TOKENS = 32
SEED = 20_261  # the same questions whatever the run's seed, so that runs compare


def draw_questions(cfg: Config, world: Path | None, say: Callable[[str], None] = lambda line: None) -> list[Question]:
    """At most `eval.vqa_questions` of every set of `eval.vqa`, drawn at random, the same in every run.

    world  folder of the demo's studies, for a file called "world"
    say    told of questions that are in a file and cannot be asked

    Raises ConfigError and DataError as `read_questions`, naming `eval.vqa`.
    """
    drawn: list[Question] = []
    for name, file in cfg.eval.vqa.items():
        if file == WORLD and world is None:
            raise DataError(
                f"eval.vqa: found {name}={WORLD} with data.reader={cfg.data.reader}, expected a file: the demo alone "
                "has drawn a world. Name the set's own file."
            )
        path = world / "studies.jsonl" if file == WORLD and world else Path(file)
        found = read_questions(name, path, asked_by="eval.vqa", max_images=cfg.data.max_images)
        if found.left_out:
            first = f"{len(found.left_out)} questions of {name} cannot be asked (first: {found.left_out[0]})."
            say(f"eval.vqa: {first}{found.remedy()}")
        questions = found.questions
        count = min(cfg.eval.vqa_questions, len(questions))
        places = random.Random(f"{SEED}/{name}").sample(range(len(questions)), count)
        drawn += [questions[place] for place in sorted(places)]
    return drawn


@dataclass(frozen=True)
class Exam:
    """Asks the policy that the engine holds.

    questions  the same list on every rank
    engine     has `greedy`, as `RolloutEngine`
    builder    renders a question in the place of a study
    """

    questions: Sequence[Question]
    engine: Any
    builder: PromptBuilder

    def metrics(self) -> dict[str, float]:
        """`vqa/...` over all ranks, which all must call; a question whose image cannot be decoded is not asked."""
        mine = collectives.every_nth(self.questions)
        with collectives.together():
            answers = self._answers(mine)  # also of none: partners share an engine
        everything = [answer for part in collectives.gather(answers) for answer in part]
        missing = Counter(q.source for q in self.questions) - Counter(source for source, *_ in everything)
        return accuracies(everything) | {f"vqa/{source}/not_asked": float(n) for source, n in missing.items()}

    def _answers(self, questions: Sequence[Question]) -> list[tuple[str, bool, bool]]:
        """Source, whether the answer can be read, whether it is right."""
        prompts = self.builder.build_all([as_study(question) for question in questions])
        completions = self.engine.greedy(prompts, ANSWER_TOKENS)
        said = {completion.prompt.study.study_id: completion.text.strip() for completion in completions}
        found = []
        for question in questions:
            if question.question_id in said:
                read = read_answer(question, said[question.question_id])
                found.append((question.source, read is not None, is_right(question, read)))
        return found


def accuracies(answers: Sequence[tuple[str, bool, bool]]) -> dict[str, float]:
    """The metrics of (source, readable, right) of every question that was asked."""
    if not answers:
        return {}
    found = {"vqa/accuracy": _share([right for _, _, right in answers])}
    for source in sorted({source for source, _, _ in answers}):
        own = [(readable, right) for name, readable, right in answers if name == source]
        found[f"vqa/{source}/accuracy"] = _share([right for _, right in own])
        found[f"vqa/{source}/unreadable"] = _share([not readable for readable, _ in own])
    return found


def make_exam(cfg: Config, questions: Sequence[Question], engine: Any, processor: Any) -> Exam | None:
    """None without questions. Prompts are the question alone, whatever `data.prompt` asks of studies."""
    if not questions:
        return None
    data = cfg.data.model_copy(update={"prompt": PROMPT, "prior": "none"})
    asking = cfg.model_copy(update={"data": data})
    quarantine = Quarantine(cfg.data.bad_images_budget)
    quarantine.write_to(cfg.run.dir)
    return Exam(questions, engine, PromptBuilder(processor, asking, quarantine))


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
