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
class Cut:
    """What an engine holds of a weight that it shares with other ranks: of equal `parts` along `axis` the one at
    `index`, of each of equal `blocks` that lie one after the other (queries, keys and values in one, say)."""

    axis: int
    parts: int
    index: int
    blocks: int = 1

    def of(self, weight: Tensor) -> Tensor:
        """The part, or nothing of a weight that cannot be cut so."""
        if self.parts == 1:
            return weight
        if weight.dim() <= self.axis or weight.shape[self.axis] % (self.blocks * self.parts):
            return weight[:0]
        size = weight.shape[self.axis] // self.blocks // self.parts
        starts = [(block * self.parts + self.index) * size for block in range(self.blocks)]
        return torch.cat([weight.narrow(self.axis, start, size) for start in starts], self.axis)


WHOLE = Cut(0, 1, 0)


@dataclass(frozen=True)
class Place:
    """The first row in one of the engine's tensors, None = anywhere in it; the part of the weight is there."""

    tensor: str
    row: int | None
    cut: Cut


def cuts_of(place: int, size: int) -> list[Cut]:
    """How the engine at `place` among `size` partners may hold a weight, the largest part first: a smaller one would be
    found inside of it.

    Layers are cut along their outputs (axis 0) or their inputs (1), several that are one on disk each for itself; heads
    of keys and values, of which there may be fewer than partners, into fewer parts, so that several hold the same one.
    """
    fewer = [parts for parts in range(2, size + 1) if size % parts == 0]
    ways = ((0, 1), (1, 1), (0, 2), (0, 3))  # axis, blocks
    return [WHOLE, *(Cut(axis, parts, place * parts // size, blocks) for parts in fewer for axis, blocks in ways)]


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
    not_found   names of weights that the engine keeps in another form, which cannot be compared
    """

    def __init__(self, model: nn.Module, weights: Iterable[tuple[str, Tensor]], cuts: Sequence[Cut] = (WHOLE,)) -> None:
        """weights: (name on disk, whole tensor) of all that will be sent, with the values that `model` holds.

        cuts  the parts of a weight that `model` may hold, the largest first
        """
        self.places: dict[str, list[Place]] = {}
        self.not_found: list[str] = []
        tensors = engine_tensors(model)
        for name, weight in weights:
            places: list[Place] = []
            for cut in cuts:
                places += _places(tensors, cut.of(weight), cut)
                if places and (len(cuts) == 1 or not _is_constant(weight)):  # any part of one number looks alike
                    break
            if places:
                self.places[name] = places
            else:
                self.not_found.append(name)

    def differing(self, model: nn.Module, weights: Iterable[tuple[str, Tensor]]) -> list[str]:
        """Names of the weights that `model` does not hold as they are."""
        tensors = engine_tensors(model)
        return [
            name
            for name, weight in weights
            if name in self.places
            and not any(_lies_at(tensors[place.tensor], place.cut.of(weight), place.row) for place in self.places[name])
        ]


def _is_constant(weight: Tensor) -> bool:
    return bool((weight == weight.flatten()[:1]).all())


def _places(tensors: dict[str, Tensor], part: Tensor, cut: Cut) -> list[Place]:
    """Where the part lies: each row, or which tensors alone if it is found too often."""
    rows = {key: found for key, tensor in tensors.items() if (found := _rows(tensor, part))}
    if sum(map(len, rows.values())) <= MAX_PLACES:
        return [Place(key, row, cut) for key, found in rows.items() for row in found]
    return [Place(key, None, cut) for key in rows]


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
