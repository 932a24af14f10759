"""Weights fetched before a layer asks for them, in each of the kinds of pass that a step is made of.

ZeRO-3 notes in which order a pass uses the weights. When passes repeat the order, it fetches them ahead, while the
layers before them compute, and ranks need not compare their notes any more. But it keeps the notes of one order, and
a step has several: encoding images, log-probabilities without gradients, and passes with gradients, each of which
would make it throw away the notes of the one before. So every kind of pass gets notes of its own.
"""

from __future__ import annotations

from collections.abc import Hashable
from copy import copy
from typing import Any

import torch
from torch import nn


def prefetch_each_kind(engine: Any) -> None:
    """Let DeepSpeed 0.19's `engine` keep one order of weights for each kind of pass that it will run.

    The kind must be the same on every rank, since ranks compare orders with each other until these are complete.
    """
    offload = getattr(engine.optimizer, "parameter_offload", engine.optimizer)  # itself where nothing is trained
    unused = offload.param_coordinator
    notes: dict[Hashable, Any] = {}

    def choose(module: nn.Module, args: tuple[Any, ...]) -> None:
        kind = kind_of_pass(module, *args)
        if kind not in notes:
            notes[kind] = copy(unused)  # shallow: what is on its way, and the events, are shared
            notes[kind]._clear_trace_structures()
        offload.param_coordinator = notes[kind]

    engine.module.register_forward_pre_hook(choose, prepend=True)  # before DeepSpeed's own, which begins the pass


def kind_of_pass(module: nn.Module, batch: Any) -> Hashable:
    """What decides which layers a pass runs, and how often; none of it differs between ranks."""
    return type(batch), getattr(batch, "slices", 1), torch.is_grad_enabled(), module.training
