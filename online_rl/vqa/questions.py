"""`Question`: a closed question about one or several images, and the prompt that it is asked with."""

from __future__ import annotations

from dataclasses import dataclass

from online_rl.data.study import Study

LETTERS = "ABCDEFGHIJ"
YES_NO = ("yes", "no")
PROMPT = "{indication}"  # the whole question stands there


@dataclass(frozen=True)
class Question:
    """One question.

    source   chexbench, rexvqa, vqa_rad, slake or demo
    task     what the source calls its kind
    options  texts to choose from; empty if the answer is a word that the question names
    answer   index of the right option, or the right word
    group    questions about one patient, or else one image, are not independent; intervals resample these
    row      where it stands, such as "data.json: View Classification[3]"
    """

    question_id: str
    source: str
    task: str
    images: tuple[str, ...]
    text: str
    options: tuple[str, ...]
    answer: int | str
    group: str
    row: str

    @property
    def is_yes_no(self) -> bool:
        return self.options == YES_NO


def prompt(question: Question) -> str:
    """What the policy is asked, on one line.

    >>> q = Question("1", "slake", "closed", (), "Is it enlarged?", YES_NO, 0, "p", "")
    >>> prompt(q)
    'Is it enlarged? Answer yes or no.'
    """
    text = question.text.strip()
    if question.is_yes_no:
        return f"{text} Answer yes or no."
    if not question.options:
        return f"{text} Answer with a word or two."
    options = " ".join(f"({letter}) {option}" for letter, option in zip(LETTERS, question.options, strict=False))
    return f"{text} Options: {options} Answer with the letter of the right option alone."


def as_study(question: Question) -> Study:
    """The question in the place of a study's indication, so that a policy is asked as it is for reports."""
    return Study(
        question.question_id, question.group, question.images, prompt(question), reference="", source=question.row
    )
