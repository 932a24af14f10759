"""The reference report as the completion that the policy should have written: its tokens and the end of its turn.

The prompt comes from `PromptBuilder`, as in online training, so it is the same token for token. What follows it is read
off the policy's chat template, once, with a probe in the place of a report:

    template asks    ...<|im_start|>assistant\\n                        (the generation prompt)
    template writes  ...<|im_start|>assistant\\nPROBE<|im_end|>\\n
    target           tokens of the report, then <|im_end|>
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from online_rl.config import Config
from online_rl.data.study import Study
from online_rl.errors import ConfigError
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.types import Completion, Prompt

PROBE = "Report"


@dataclass(frozen=True)
class Turn:
    """How the policy's turn is written.

    asked  the generation prompt, the last words of every prompt
    lead   what the template puts between it and the report, such as a blank
    end    id of the token that ends the turn
    """

    asked: str
    lead: str
    end: int


class TargetBuilder:
    """Makes a `Completion` of a study: the prompt as sampling reads it, and the reference report as its answer.

    A report of more than `rollout.max_completion_tokens` tokens is cut there, as a sampled one is, and has no end.
    """

    def __init__(self, builder: PromptBuilder, cfg: Config) -> None:
        """Raises ConfigError for a chat template whose answers do not begin where its prompts end."""
        self.builder, self.tokenizer = builder, builder.processor.tokenizer
        self.limit = cfg.rollout.max_completion_tokens
        self.turn = turn_of(builder.processor, cfg.model.path)
        self._asked = self._ids(self.turn.asked)

    def build_all(self, studies: Sequence[Study], spare: Iterable[Study] = ()) -> list[Completion]:
        """Targets of the studies whose images can be decoded; takes and raises what `PromptBuilder.build_all` does."""
        return [self.target(prompt, group) for group, prompt in enumerate(self.builder.build_all(studies, spare))]

    def target(self, prompt: Prompt, group: int = 0) -> Completion:
        """The reference report of the prompt's study behind it; `group` is its place among those of the step."""
        text = prompt.study.reference.strip()
        ids = [*self._report_ids(self.builder.as_text(text)), self.turn.end]
        cut = len(ids) > self.limit
        ids = ids[: self.limit]
        return Completion(group, 0, prompt, tuple(ids), (0.0,) * len(ids), text, cut)

    def _report_ids(self, text: str) -> list[int]:
        """Tokens of the report as they continue the prompt, whose last words stand before it while it is divided."""
        written = self.turn.lead + text
        behind = self._ids(self.turn.asked + written)
        if behind[: len(self._asked)] == self._asked:
            return behind[len(self._asked) :]
        return self._ids(written)  # the tokenizer joins both; the prompt's tokens are what they are

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def turn_of(processor: Any, path: str) -> Turn:
    """Read the policy's turn off its chat template. Raises ConfigError, naming model.path, if that cannot be done."""
    turns = [{"role": "user", "content": [{"type": "text", "text": PROBE}]}]
    answer = [{"role": "assistant", "content": [{"type": "text", "text": PROBE}]}]
    before = processor.apply_chat_template(turns)
    prompt = processor.apply_chat_template(turns, add_generation_prompt=True)
    whole = processor.apply_chat_template([*turns, *answer])
    if not (prompt.startswith(before) and whole.startswith(before) and PROBE in whole[len(before) :]):
        raise _refusal(path, "renders a turn in another way once an answer follows it")
    asked = prompt[len(before) :]
    head, _, tail = whole[len(before) :].rpartition(PROBE)
    if asked not in head:
        raise _refusal(path, f"asks for an answer by {asked!r} and writes one behind {head!r}")
    lead = head.rpartition(asked)[2] if asked else head
    return Turn(asked, lead, _end_of_turn(processor.tokenizer, tail))


def _end_of_turn(tokenizer: Any, tail: str) -> int:
    """The special token that the template writes behind an answer; the tokenizer's own end if it writes none."""
    first = next(iter(tokenizer(tail, add_special_tokens=False)["input_ids"]), None)
    return first if first is not None and first in tokenizer.all_special_ids else tokenizer.eos_token_id


def _refusal(path: str, found: str) -> ConfigError:
    return ConfigError(
        f"model.path: found {path!r}, whose chat template {found}; expected answers that continue the prompt, so that "
        "reference reports can stand in their place. Use an instruction-tuned policy that does not reason first, or "
        "correct chat_template.jinja in its folder."
    )
