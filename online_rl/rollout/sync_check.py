"""Whether the engine holds the weights that it was sent, bit by bit, whatever it calls them and however it fuses them.

Where a weight lies in the engine is found by content, while both still hold the same values: at the start of a run.
Later each weight is compared with what lies there, so that one that the engine did not take is reported by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MAX_PLACES = 64  # of a tensor that is found more often (all zeros), only which tensors hold it is kept


@dataclass(frozen=True)
class Place:
    """The first row in one of the engine's tensors; None = anywhere in it."""

    tensor: str
    row: int | None


@dataclass(frozen=True)
class Cut:
    """What an engine holds of a weight that it shares with other ranks: of equal `parts` along `axis` the one at
    `index`."""

    axis: int
    parts: int
    index: int

    def of(self, weight: Tensor) -> Tensor:
        """The part, or nothing of a weight that cannot be cut so."""
        if self.parts == 1:
            return weight
        if weight.dim() <= self.axis or weight.shape[self.axis] % self.parts:
            return weight[:0]
        size = weight.shape[self.axis] // self.parts
        return weight.narrow(self.axis, self.index * size, size)


WHOLE = Cut(0, 1, 0)


def cuts_of(place: int, size: int) -> list[Cut]:
    """How the engine at `place` among `size` partners may hold a weight, the largest part first: a smaller one would be
    found inside of it.

    Layers are cut along their outputs (axis 0) or their inputs (1); heads of keys and values, of which there may be
    fewer than partners, into fewer parts, so that several partners hold the same one.
    """
    fewer = [parts for parts in range(2, size + 1) if size % parts == 0]
    return [WHOLE, *(Cut(axis, parts, place * parts // size) for parts in fewer for axis in (0, 1))]


def engine_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Name -> what each parameter of an engine's model is, also where the engine keeps it in a packed form alone.

    vLLM packs linear layers on CPUs and leaves an empty parameter behind; the layer's outputs for the rows of the
    identity are its weight's columns, exactly.
    """
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.numel():
            found[name] = parameter.detach()
            continue
        layer = model.get_submodule(name.rpartition(".")[0])
        size = getattr(layer, "input_size_per_partition", None) or getattr(layer, "input_size", None)
        method = getattr(layer, "quant_method", None)
        if size and method is not None and name.endswith(".weight"):
            eye = torch.eye(size, dtype=parameter.dtype, device=parameter.device)
            with torch.no_grad():
                found[name] = method.apply(layer, eye, None).t()
    return found


class SyncCheck:
    """Knows where each weight lies in the engine.

    places      name on disk -> where it may lie: one of several places if several held the same at the start
    cuts        name on disk -> which part of it lies there, WHOLE for an engine of this rank's own
    not_found   names of weights that the engine keeps in another form, which cannot be compared
    """

    def __init__(self, model: nn.Module, weights: Iterable[tuple[str, Tensor]], cuts: Sequence[Cut] = (WHOLE,)) -> None:
        """weights: (name on disk, whole tensor) of all that will be sent, with the values that `model` holds.

        cuts  the parts of a weight that `model` may hold, the largest first
        """
        self.places: dict[str, list[Place]] = {}
        self.cuts: dict[str, Cut] = {}
        self.not_found: list[str] = []
        tensors = engine_tensors(model)
        for name, weight in weights:
            for cut in cuts:
                part = cut.of(weight)
                rows = {key: found for key, tensor in tensors.items() if (found := _rows(tensor, part))}
                if rows:
                    break
            self.cuts[name] = cut
            if not rows:
                self.not_found.append(name)
            elif sum(map(len, rows.values())) <= MAX_PLACES:
                self.places[name] = [Place(key, row) for key, found in rows.items() for row in found]
            else:
                self.places[name] = [Place(key, None) for key in rows]

    def differing(self, model: nn.Module, weights: Iterable[tuple[str, Tensor]]) -> list[str]:
        """Names of the weights that `model` does not hold as they are."""
        tensors = engine_tensors(model)
        return [
            name
            for name, weight in weights
            if name in self.places
            and not any(
                _lies_at(tensors[place.tensor], self.cuts[name].of(weight), place.row) for place in self.places[name]
            )
        ]


def _rows(tensor: Tensor, weight: Tensor) -> list[int]:
    """Offsets at which `weight` may begin in `tensor`; at most a few more than MAX_PLACES."""
    if tensor.shape[1:] != weight.shape[1:] or len(tensor) < len(weight) or not weight.numel():
        return []
    first = weight[0].to(tensor)
    starts = tensor[: len(tensor) - len(weight) + 1]
    rows = (starts.reshape(len(starts), -1)[:, 0] == first.reshape(-1)[0]).nonzero()[: MAX_PLACES + 1, 0].tolist()
    return [row for row in rows if _lies_at(tensor, weight, row)]


def _lies_at(tensor: Tensor, weight: Tensor, row: int | None) -> bool:
    if row is None:
        return bool(_rows(tensor, weight))
    return torch.equal(tensor[row : row + len(weight)], weight.to(tensor))
