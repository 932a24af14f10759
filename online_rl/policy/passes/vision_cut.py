"""The output of a frozen vision encoder for a study's images: computed once per step, reused by every pass.

A vision-language model consists of encoder layers, then a projector (connector, merger), then the language model. If
the encoder is frozen, the projector's input is the same for all candidates of a study, in every pass of a step, and in
the ref_model. `VisionCut` records that input, and later substitutes it while the layers pass their input through
untouched: everything transformers does around the layers stays as it is, and projector and language model compute and
learn as before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from online_rl.errors import ConfigError
from online_rl.ranks import collectives
from online_rl.rollout.types import Prompt

VISION = ("vision_model", "vision_tower", "visual", "image_tower")
PROJECTOR = ("merger", "projector", "connector")

Features = dict[str, Tensor]  # name of a projector -> (patches or images of a study, ...), its input


def is_vision(name: str) -> bool:
    """Whether a weight or module of this name in memory is the vision encoder's; projectors inside it are not.

    >>> [is_vision(f"model.visual.{part}.weight") for part in ("blocks.0", "merger.mlp.0", "deepstack_merger_list.0")]
    [True, False, False]
    """
    words = name.split(".")
    return any(word in VISION for word in words) and not any(part in word for part in PROJECTOR for word in words)


@dataclass(frozen=True)
class Images:
    """Studies' images as the processor made them: the input of a pass that only encodes images.

    studies  the processor's tensors of each study; those of the same name have the same shape
    """

    studies: Sequence[Mapping[str, Tensor]]

    def to(self, device: torch.device) -> Images:
        return Images([{name: tensor.to(device) for name, tensor in inputs.items()} for inputs in self.studies])

    @property
    def joined(self) -> dict[str, Tensor]:
        return {name: torch.cat([inputs[name] for inputs in self.studies]) for name in self.studies[0]}

    def parted(self, features: Features) -> list[Features]:
        """Split the features of all studies into equal parts, one per study. Raises ConfigError if there are none."""
        number = len(self.studies)
        sizes = {name: len(whole) // number for name, whole in features.items()}
        if any(len(whole) % number for whole in features.values()):
            raise ConfigError(
                f"debug.image_features_once: found true, but {number} studies with images of the same shapes became "
                f"{', '.join(str(len(whole)) for whole in features.values())} rows of features. Set it to false."
            )
        return [{n: features[n][i * size : (i + 1) * size] for n, size in sizes.items()} for i in range(number)]


class VisionCut:
    """The boundary between the frozen vision encoder of a model and the part that learns."""

    def __init__(self, model: nn.Module) -> None:
        """Raises ValueError, with the reason, for a model that cannot be cut there."""
        self._look: Any = getattr(getattr(model, "model", None), "get_image_features", None)
        self._projectors = dict(_projectors(model))
        self._layers = list(_layers(model, self._projectors))
        if self._look is None or not self._projectors or not self._layers:
            raise ValueError("it has no get_image_features, no encoder layers in a list, or no projector")
        trained = [name for name, p in model.named_parameters() if is_vision(name) and p.requires_grad]
        if trained:
            raise ValueError(f"its vision encoder is trained ({trained[0]} and others)")
        known = inspect.signature(self._look).parameters
        self._accepted = {name for name in known if known[name].kind is not inspect.Parameter.VAR_KEYWORD}
        self._proven = False

    def images(self, prompt: Prompt) -> dict[str, Tensor]:
        """The part of a prompt's inputs that the encoder reads."""
        return {name: tensor for name, tensor in prompt.inputs.items() if name in self._accepted}

    @torch.no_grad()
    def take(self, images: Images) -> list[Features]:
        """Run the encoder on the images of studies and return the input of each projector, study by study.

        The first call checks the assumptions, with the same number of passes on every rank, and raises ConfigError if
        the architecture does not meet them.
        """
        if not self._proven:
            self._prove(images.studies[0])
        return images.parted(self._taken(images)[0])

    def _prove(self, study: Mapping[str, Tensor]) -> None:
        """Check that the model computes the same features for a study if the projectors' inputs are substituted, and
        that these inputs do not depend on another study in the same pass (here the study's own images, inverted)."""
        alone = Images([study])
        taken, seen = self._taken(alone)
        with self.given([taken]):
            again = self._look(**alone.joined)
        pairs = list(zip(_tensors(seen), _tensors(again), strict=True))
        if not pairs or not all(torch.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in pairs):
            raise ConfigError(
                "debug.image_features_once: found true, but the features of this architecture do not all pass "
                "through its projector, so they cannot be kept. Set it to false."
            )
        dark = {name: -tensor if tensor.is_floating_point() else tensor for name, tensor in study.items()}
        beside = Images([dark, study])
        if not _alike(taken, beside.parted(self._taken(beside)[0])[1]):
            raise ConfigError(
                "debug.image_features_once: found true, but this architecture makes something else of a study's "
                "images when other studies' lie beside them. Set it to false."
            )
        self._proven = True

    def _taken(self, images: Images) -> tuple[Features, Any]:
        """(input of each projector, output of the model's image part)."""
        taken: Features = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda _, args: taken.update({name: args[0].detach().clone()})

        with ExitStack() as stack:
            for name, projector in self._projectors.items():
                stack.callback(projector.register_forward_pre_hook(keep(name)).remove)
            return taken, self._look(**images.joined)

    @contextmanager
    def given(self, features: Sequence[Features]) -> Iterator[None]:
        """Skip the encoder's layers in forward passes within the block: their rows have these features."""

        def put(name: str) -> Callable[..., Any]:
            whole = torch.cat([row[name] for row in features])

            def swap(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
                if args[0].shape != whole.shape:
                    raise ConfigError(
                        f"debug.image_features_once: found true, but {name} reads {tuple(args[0].shape)} of this "
                        f"architecture where {tuple(whole.shape)} was kept. Set it to false."
                    )
                return (whole, *args[1:])

            return swap

        with ExitStack() as stack:
            for name, projector in self._projectors.items():
                if name in features[0]:
                    stack.callback(projector.register_forward_pre_hook(put(name)).remove)
            for layer in self._layers:
                stack.enter_context(_passing_through(layer))
            yield


def vision_cut(model: nn.Module) -> VisionCut | None:
    """The cut, or None if the encoder is trained or not found, so that every pass must run it."""
    try:
        return VisionCut(model)
    except ValueError:
        return None


@torch.no_grad()
def encode_images(engine: Any, prompts: Sequence[Prompt], device: torch.device, together: int) -> dict[str, Features]:
    """Features of every prompt's images, by `Prompt.key`. Every rank must call it, with at least one prompt.

    Studies whose images yield the same number of features share a pass, at most `together` of them. Every rank runs as
    many passes as the one that needs most. Raises ConfigError on all ranks.
    """
    cut: VisionCut | None = engine.module.cut
    if cut is None:
        return {}
    once = list({prompt.key: prompt for prompt in prompts}.values())
    plan = group_by_shape(once, cut, together)
    found: dict[str, Features] = {}
    error: ConfigError | None = None
    for i in range(int(collectives.reduce_numbers([len(plan)], "max")[0])):
        shown = plan[i % len(plan)]
        images = Images([cut.images(prompt) for prompt in shown])
        try:
            found |= zip((prompt.key for prompt in shown), engine(images.to(device)), strict=True)
        except ConfigError as problem:
            error = problem
    collectives.agree(error)
    return found


def group_by_shape(prompts: Sequence[Prompt], cut: VisionCut, together: int) -> list[list[Prompt]]:
    """The prompts of each pass, at most `together`. Within a pass all inputs have the same shapes, and those that count
    or mask (image sizes, grids) the same values, so that every study has the same number of features."""
    plan: list[list[Prompt]] = []
    newest: dict[Any, list[Prompt]] = {}  # shapes and counts -> the pass that may have room
    for prompt in prompts:
        kind = tuple(
            (name, tensor.shape, None if tensor.is_floating_point() else tensor.cpu().numpy().tobytes())
            for name, tensor in cut.images(prompt).items()
        )
        shown = newest.get(kind)
        if shown is None or len(shown) == together:
            shown = newest[kind] = []
            plan.append(shown)
        shown.append(prompt)
    return plan


def _alike(some: Features, others: Features) -> bool:
    """Whether features differ by rounding alone: with another number of rows, sums may run in another order."""
    return all(
        a.shape == others[name].shape
        and (a - others[name]).norm() <= (1e-3 if a.dtype == torch.float32 else 5e-2) * a.norm()
        for name, a in some.items()
    )


def _tensors(output: Any) -> list[Tensor]:
    """The tensors that an encoder hands to the language model: all that it returns except its inner states."""
    inner = ("last_hidden_state", "hidden_states", "attentions")
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return [t for name, value in output.items() if name not in inner for t in _tensors(value)]
    return [t for value in output for t in _tensors(value)] if isinstance(output, (list, tuple)) else []


def _projectors(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules with such a name; of a list, its members: Qwen3-VL has one merger per depth."""
    found: list[str] = []
    for name, module in model.named_modules():
        if any(word in name.rpartition(".")[2] for word in PROJECTOR) and not name.startswith(tuple(found)):
            found.append(f"{name}.")
            members = module.named_children() if isinstance(module, nn.ModuleList) else [("", module)]
            yield from ((f"{name}.{child}".rstrip("."), member) for child, member in members)


def _layers(model: nn.Module, projectors: Mapping[str, nn.Module]) -> Iterator[nn.Module]:
    """Members of the outermost lists of modules inside the vision encoder."""
    found: list[str] = []
    for name, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or not is_vision(name) or name.startswith(tuple(found)):
            continue
        if any(other.startswith(f"{name}.") or name.startswith(f"{other}.") for other in projectors):
            continue
        found.append(f"{name}.")
        yield from module


@contextmanager
def _passing_through(layer: nn.Module) -> Iterator[None]:
    own = vars(layer).get("forward")
    layer.forward = lambda *args, **kwargs: args[0] if args else kwargs["hidden_states"]
    try:
        yield
    finally:
        del layer.forward
        if own is not None:
            layer.forward = own
