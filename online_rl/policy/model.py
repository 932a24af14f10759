"""The model as the update needs it: log-probabilities of completion tokens, and logits of no others.

Legend: R rows, L tokens of the longest, B completions, T tokens of the longest,
K completions laid out (one in two pairs of a row once), D hidden size, V vocabulary, N tokens of the K.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from online_rl.errors import ConfigError
from online_rl.policy.passes import branch_attention
from online_rl.policy.passes.collate import MicroBatch
from online_rl.policy.passes.shared_prompts import can_share, positions, tree_mask
from online_rl.policy.passes.vision_cut import VISION, Images, VisionCut, is_vision


class PolicyModel(nn.Module):
    """Wraps a Hugging Face vision-language model so that its forward pass returns what a loss needs.

    A module of its own, because ZeRO-3 gathers weights in the hooks of the module that DeepSpeed was given.
    """

    def __init__(self, model: nn.Module, banned_ids: Sequence[int], temperature: float) -> None:
        super().__init__()
        refuse_undivided(model)
        self.hf = model
        self._takes_layouts = can_share(model) and branch_attention.use_in(model)
        self.temperature = temperature
        self.banned_ids = list(banned_ids)
        self.cut: VisionCut | None = None  # set if image features are computed once

    def forward(self, batch: MicroBatch | Images) -> Any:
        """`token_statistics` of a micro-batch, or the features of images; ZeRO-3 gathers weights in no other method."""
        if isinstance(batch, Images):
            assert self.cut is not None
            return self.cut.take(batch)
        return self.token_statistics(batch)

    def token_statistics(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """Log-probability of every completion token, and the entropy of the distribution it was sampled from; both
        (B, T), nats.

        At the sampling temperature, without the tokens that sampling bans: the distribution that vLLM used.
        """
        hidden = self._hidden(batch)  # (R, L, D)
        rows = hidden.flatten(0, 1)[batch.predictors]  # (N, D), completion by completion
        once = batch.mask[batch.first]  # (K, T)
        live = once.bool()
        logp, entropy = self._in_slices(rows, batch.tokens[batch.first][live], batch.slices)  # (N,), (N,)
        empty = torch.zeros_like(once)
        return empty.masked_scatter(live, logp)[batch.again], empty.masked_scatter(live, entropy)[batch.again]

    def _hidden(self, batch: MicroBatch) -> Tensor:
        seen = self.cut.given(batch.features) if self.cut is not None and batch.features else nullcontext()
        inputs: dict[str, Any] = dict(batch.inputs)
        if batch.shares_prompts:
            inputs |= {
                "attention_mask": tree_mask(batch.branches),
                "position_ids": positions(self.hf.model, batch, inputs),
            }
            if self._takes_layouts:
                inputs[branch_attention.ARGUMENT] = branch_attention.lay_out(batch.branches, batch.multiple)
        with seen:
            return self.hf.model(**inputs, use_cache=False).last_hidden_state

    def _in_slices(self, rows: Tensor, targets: Tensor, slices: int) -> tuple[Tensor, Tensor]:
        """`_from_hidden` in this many slices, one after the other. Backward computes a slice's logits again: of the
        tensors that are as wide as the vocabulary, only one slice exists at a time.

        The number is given and not derived from this rank's tokens: every call of the output layer gathers its weight
        from all ranks, so all must make the same number of calls. A rank with fewer tokens than that adds empty ones.
        """
        if slices == 1:
            return self._from_hidden(rows, targets)
        count, spare = len(rows), max(0, slices - len(rows))
        rows, targets = pad(rows, (0, 0, 0, spare)), pad(targets, (0, spare))
        pieces = zip(rows.tensor_split(slices), targets.tensor_split(slices), strict=True)
        parts = [checkpoint(self._from_hidden, *piece, use_reentrant=False) for piece in pieces]
        return torch.cat([p[0] for p in parts])[:count], torch.cat([p[1] for p in parts])[:count]

    def _from_hidden(self, rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logp = self.hf.lm_head(rows).float()  # (N, V); a single name, so that each copy is freed at once
        if self.temperature != 1.0:
            logp = logp / self.temperature
        if self.banned_ids:
            banned = torch.tensor(self.banned_ids, device=logp.device)
            logp = logp.index_fill_(1, banned, float("-inf"))  # in place: backward does not need its input
        logp = torch.log_softmax(logp, dim=-1)
        chosen = logp.gather(1, targets[:, None])[:, 0]  # (N,)
        with torch.no_grad():
            return chosen, self._measured(logp, targets)

    def _measured(self, logp: Tensor, targets: Tensor) -> Tensor:
        """What is measured of each token beside its log-probability: the entropy, nats (N,). logp (N, V) is used up."""
        p = logp.exp()
        return torch.special.entr(p, out=p).sum(-1)  # 0 log 0 = 0


def refuse_undivided(model: nn.Module) -> None:
    """Raise ConfigError for a model whose hidden states and output layer are not where `PolicyModel` expects them."""
    if not hasattr(model, "lm_head") or not hasattr(model, "model"):
        raise ConfigError(
            f"model.path: {type(model).__name__} has no `model` and `lm_head` parts, so its hidden states and "
            "logits cannot be reached separately. Use a *ForConditionalGeneration model of transformers 5."
        )


def without_dropout(model: nn.Module) -> None:
    """Remove every dropout that the policy's configuration asks for; adapters that are added later keep theirs.

    The policy that is trained must be the one that sampled, and the ref_model has one answer per report.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name in ("attention_dropout", "activation_dropout", "dropout"):  # what transformers' layers read in forward
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def freeze_vision(model: nn.Module) -> int:
    """Freeze the vision encoder and return the number of frozen tensors; the projector continues to learn.

    Raises ConfigError if there is no vision encoder.
    """
    frozen = 0
    for name, parameter in model.named_parameters():
        if is_vision(name):
            parameter.requires_grad_(False)
            frozen += 1
    if not frozen:
        raise ConfigError(
            f"model.freeze_vision=true, but {type(model).__name__} has no part named {', '.join(VISION)}. "
            "Set model.freeze_vision=false to train all of it."
        )
    return frozen


IMAGE_ID_KEYS = (
    "image_token_id",
    "video_token_id",
    "image_token_index",  # LLaVA's names
    "video_token_index",
    "vision_start_token_id",  # Qwen-VL's
    "vision_end_token_id",
    "boi_token_index",  # Gemma 3's, begin and end of image
    "eoi_token_index",
)
IMAGE_WORDS = ("<image>", "<fake_token_around_image>", "<global-img>", "<|image_pad|>", "<|video_pad|>")


def pad_token_id(tokenizer: Any) -> int:
    """The token that rows are padded with; of a tokenizer without one, the end token: padding is masked anyway."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id


def banned_token_ids(model_config: Any, tokenizer: Any) -> list[int]:
    """Tokens that must never be sampled: they stand for images, and a sampled one has no image behind it."""
    ids = set()
    for name in IMAGE_ID_KEYS:
        value = getattr(model_config, name, None)
        if isinstance(value, int):
            ids.add(value)
    for name in IMAGE_WORDS:
        value = tokenizer.get_vocab().get(name)
        if value is not None:
            ids.add(value)
    return sorted(ids)
