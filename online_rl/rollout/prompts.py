"""Rendering a study into the prompt that vLLM and the trainer both read, token for token."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from functools import cached_property
from itertools import chain
from typing import Any

from online_rl.config import Config
from online_rl.daemon_threads import DaemonThreads
from online_rl.data.image_cache import cached_image
from online_rl.data.prompt import AsText, is_function, study_prompt
from online_rl.data.quarantine import Quarantine
from online_rl.data.study import Study
from online_rl.errors import ConfigError, DataError, ImageError
from online_rl.rollout.types import Prompt

SETTLE_S = 10.0  # that the interpreter's end waits for a prompt


class PromptBuilder:
    """Renders studies with the processor's own chat template and image processing.

    quarantine  takes the studies whose images cannot be decoded, within its budget; None: there is none
    """

    def __init__(self, processor: Any, cfg: Config, quarantine: Quarantine | None = None) -> None:
        if getattr(processor, "chat_template", None) is None:
            raise ConfigError(
                f"model.path={cfg.model.path!r} has a processor without a chat template, so the prompt cannot be "
                "rendered. Use an instruction-tuned checkpoint, or add chat_template.jinja to its folder."
            )
        self.processor = processor
        self.start = _start_added_twice(processor.tokenizer)
        self.quarantine = quarantine or Quarantine(0)
        self.template, self.system = cfg.data.prompt, cfg.data.system_prompt
        self.sees_prior = cfg.data.prior in ("image", "both")
        self.as_text = AsText(processor)
        self._refuse_tokens(cfg)
        self.max_images = cfg.data.max_images
        self.max_side = cfg.data.image_max_side
        self.image_cache = cfg.data.image_cache
        self.room = cfg.rollout.max_model_len - cfg.rollout.max_completion_tokens
        self._threads = DaemonThreads("prompts")
        self._ready: dict[str, tuple[Study, Future[Prompt]]] = {}
        self._begun: list[Future[Prompt]] = []
        # A thread that the interpreter's end meets inside C++ code aborts the process.
        weakref.finalize(self, _settle, self._begun)

    def prepare(self, studies: Sequence[Study]) -> None:
        """Begin to build the prompts of these studies in a thread, and return at once.

        `build` takes what is ready; what went wrong in the thread is raised there. Whatever an earlier call prepared
        and nobody took is dropped.
        """
        for _, future in self._ready.values():
            future.cancel()
        self._ready = {study.study_id: (study, Future()) for study in studies}
        self._begun[:] = [future for _, future in self._ready.values()]
        self._threads.run(self._for_the_thread._fill, list(self._ready.values()))

    @cached_property
    def _for_the_thread(self) -> PromptBuilder:
        """A builder with a processor of its own: tokenizers refuse to work for two threads at once."""
        twin = copy.copy(self)
        twin.processor = copy.deepcopy(self.processor)
        return twin

    def _fill(self, work: Sequence[tuple[Study, Future[Prompt]]]) -> None:
        for study, future in work:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._render(study))
                except BaseException as problem:  # raised again by `build`
                    future.set_exception(problem)

    def build_all(self, studies: Sequence[Study], spare: Iterable[Study] = ()) -> list[Prompt]:
        """The prompts of the studies whose images can be decoded; the others are set aside.

        spare  tried one after the other where no image of `studies` can be decoded, so that a rank with a single study
               is not left without one

        Raises DataError as `build` does, when the budget for such images is spent, and when no study is left.
        """
        prompts: list[Prompt] = []
        for number, study in enumerate(chain(studies, spare if studies else ())):
            if prompts and number >= len(studies):
                break
            try:
                prompts.append(self.build(study))
            except ImageError as problem:
                self.quarantine.add(study.source or study.study_id, str(problem))
        if studies and not prompts:
            raise DataError(
                f"{studies[0].source or studies[0].study_id}: of the {len(studies)} studies that one rank was given "
                "at once, no image can be decoded. Look at quarantine.jsonl in the run folder, and repair the images."
            )
        return prompts

    def render(self, indication: str, images: int) -> tuple[str, list[int]]:
        """The prompt of a study with this many images, before its image tokens are expanded: text and token ids."""
        text = self._text(Study("", "", (), indication, ""), images)
        return text, list(self.processor.tokenizer(text)["input_ids"])

    def _text(self, study: Study, images: int) -> str:
        content = [{"type": "image"} for _ in range(images)]
        content.append({"type": "text", "text": self.as_text(study_prompt(self.template, study))})
        turns = [{"role": "user", "content": content}]
        if self.system is not None:
            text = self.as_text(study_prompt(self.system, study))
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": text}]})
        return self.processor.apply_chat_template(turns, add_generation_prompt=True).removeprefix(self.start)

    def _shown(self, study: Study) -> tuple[str | bytes, ...]:
        """The study's images, then the first of its prior study if data.prior says so."""
        prior = study.prior.images[:1] if self.sees_prior and study.prior is not None else ()
        return (*study.images[: self.max_images], *prior)

    def _refuse_tokens(self, cfg: Config) -> None:
        """A template with a token of this policy's own would be read as text, so that its author's aim is missed."""
        for key, text in (("data.prompt", self.template), ("data.system_prompt", self.system or "")):
            found = next((token for token in self.as_text.tokens if token in text), None)
            if found is not None and not is_function(text):
                raise ConfigError(
                    f"{key}: found {found!r}, a token of model.path={cfg.model.path!r} itself; expected plain text. "
                    "Remove it: images come first, and turns are added."
                )

    def build(self, study: Study) -> Prompt:
        """Decode the images, render the text, expand the image tokens.

        Raises ImageError for an unreadable image, DataError for a prompt that leaves no room for the completion:
        nothing is ever cut inside the image tokens.
        """
        prepared, future = self._ready.pop(study.study_id, (None, None))
        if prepared is study and future is not None and not future.cancel():  # the thread is at it, or done
            return future.result()
        return self._render(study)

    def _render(self, study: Study) -> Prompt:
        images = tuple(
            cached_image(source, self.max_side, study.source, self.image_cache) for source in self._shown(study)
        )
        text = self._text(study, len(images))
        encoded = self.processor(text=[text], images=[list(images)], return_tensors="pt")
        ids = tuple(encoded.pop("input_ids")[0].tolist())
        encoded.pop("attention_mask", None)
        if len(ids) > self.room:
            raise DataError(
                f"{study.source or study.study_id}: the prompt with its {len(images)} image(s) takes {len(ids)} "
                f"tokens, but rollout.max_model_len - rollout.max_completion_tokens leaves {self.room}. Raise "
                "rollout.max_model_len, or lower data.max_images or data.image_max_side."
            )
        return Prompt(study, text, images, ids, dict(encoded))


def _settle(begun: Sequence[Future[Prompt]]) -> None:
    """Give up what has not begun, and wait for the prompt that the thread is at."""
    for future in begun:
        future.cancel()
    wait(begun, SETTLE_S)


def _start_added_twice(tokenizer: Any) -> str:
    """The start token where the tokenizer puts it before any text, as Gemma's and Llama's do.

    Their chat templates write it too, and a policy that reads it twice reads what it was never trained on.
    """
    added = tokenizer("")["input_ids"]
    return tokenizer.bos_token if added and added[0] == tokenizer.bos_token_id else ""
