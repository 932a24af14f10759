"""Rollouts and their parts: prompts, completions, and the stream of them that a step consumes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any

from online_rl.data.study import Study


@dataclass(frozen=True)
class Prompt:
    """One study as the model reads it.

    text    the rendered chat template, one placeholder per image
    images  decoded RGB images, bounded in size
    ids     prompt token ids with the image tokens expanded, as the processor makes them (P,)
    inputs  the processor's tensors with a leading axis of 1, such as pixel_values; without input_ids
    """

    study: Study
    text: str
    images: tuple[Any, ...]
    ids: tuple[int, ...]
    inputs: dict[str, Any]

    @cached_property
    def key(self) -> str:
        """Identity by content: the study, the token ids and the processor's tensors.

        A copy has the same key, in this process and in any other; a prompt with another image or word has another.
        Computed once, at about 1 GB/s of tensors.
        """
        digest = blake2b(repr((self.study.study_id, self.ids)).encode(), digest_size=16)
        _add_tensors(digest, self.inputs)
        return digest.hexdigest()


@dataclass(frozen=True)
class Completion:
    """One sampled report.

    group      position of its study among the studies of this rank's step
    candidate  position in its group
    ids        sampled token ids, including the end token if it was reached (T,)
    logprobs   log-probability of each under the policy that sampled it, nats (T,)
    text       the report, without reasoning before it
    truncated  it was cut at the token limit
    unclosed   it reasoned to its end, and holds no report: unscorable
    """

    group: int
    candidate: int
    prompt: Prompt
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    truncated: bool
    unclosed: bool = False

    @cached_property
    def key(self) -> str:
        """Identity by content and place: the prompt's key, the group, the candidate and the token ids."""
        ids = blake2b(repr(self.ids).encode(), digest_size=16).hexdigest()
        return f"{self.prompt.key}/{self.group}/{self.candidate}/{ids}"


@dataclass
class Rollouts:
    """Completions in the order in which they finish; once all are read, `groups` holds them study by study.

    version  the number of policy updates behind the weights that sample
    """

    stream: Iterable[Completion]
    studies: int
    group_size: int
    version: int
    groups: list[list[Completion]] = field(default_factory=list)

    def __iter__(self) -> Iterator[Completion]:
        finished: list[list[Completion | None]] = [[None] * self.group_size for _ in range(self.studies)]
        for completion in self.stream:
            finished[completion.group][completion.candidate] = completion
            yield completion
        missing = sum(c is None for group in finished for c in group)
        if missing:
            raise RuntimeError(f"the engine lost {missing} of {self.studies * self.group_size} completions")
        self.groups = finished  # type: ignore[assignment]

    def extend(self, more: Rollouts) -> None:
        """Add the groups of further studies of the same step, all of which have been read."""
        self.groups += more.groups
        self.studies += more.studies


def _add_tensors(digest: Any, tensors: Mapping[str, Any]) -> None:
    """Feed names, types, shapes and bytes, in the order of the names."""
    import torch

    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())  # bytes, because NumPy has no bfloat16
