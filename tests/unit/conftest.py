"""Small, honest parts that several unit tests build from: studies, prompts, completions, and the demo policy."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from online_rl.data.study import Study
from online_rl.rollout.types import Completion, Prompt

TEXTS = (
    "The lungs are clear. No pleural effusion or pneumothorax.",
    "Small left pleural effusion. The heart is enlarged.",
    "There is a nodule in the right upper lung. No pneumothorax.",
)


@pytest.fixture(scope="session")
def make_study() -> Callable[..., Study]:
    def make(study_id: str = "s1", reference: str = TEXTS[0], **fields) -> Study:
        return Study(study_id, f"patient of {study_id}", fields.pop("images", ()), "cough", reference, **fields)

    return make


@pytest.fixture(scope="session")
def make_completion(make_study) -> Callable[..., Completion]:
    """A completion by hand; its prompt is three tokens long unless `prompt` says otherwise."""

    def make(
        ids=(5, 6), logprobs=None, text="clear lungs", group=0, candidate=0, truncated=False, prompt=None, study=None
    ) -> Completion:
        prompt = prompt or Prompt(study or make_study(), "", (), (1, 2, 3), {})
        logprobs = tuple(logprobs) if logprobs is not None else (-1.0,) * len(ids)
        return Completion(group, candidate, prompt, tuple(ids), logprobs, text, truncated)

    return make


@pytest.fixture
def full_disk() -> Callable[[int], AbstractContextManager[None]]:
    """While it lasts, the kernel lets no file of this process grow beyond so many bytes."""

    @contextmanager
    def full_disk(room: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return full_disk


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch on one core: these models are too small for more."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def demo_processor():
    """The demo policy's tokenizer and image processing, from a handful of texts."""
    from online_rl.demo.policy import make_processor

    return make_processor(TEXTS)
