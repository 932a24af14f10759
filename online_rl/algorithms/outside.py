"""An algorithm from outside: its class is checked and tried on a small batch before any model is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from online_rl.algorithms.base import Algorithm, LearnBatch, TokenBatch
from online_rl.config import Config
from online_rl.config.algorithm import ALGORITHMS
from online_rl.data.study import Study
from online_rl.errors import UserError
from online_rl.rollout.types import Completion, Prompt, Rollouts

UNIT_SIZES = (1, 2)  # what a pass can keep together: a completion, or a pair
TRIED_GROUPS, TRIED_TOKENS = 2, 3


def make_outside(found: Any, cfg: Config) -> Algorithm:
    """Make the algorithm of the class that `algorithm.name` names, `found`, with `algorithm.args`.

    A second one is tried on two groups of made-up completions, so that what it cannot do shows now. Raises ConfigError
    with file and line of the user's code.
    """
    if not (inspect.isclass(found) and issubclass(found, Algorithm)):
        kind = f"the class {found.__name__}" if inspect.isclass(found) else f"of type {type(found).__name__}"
        _refuse(cfg, f"is {kind}; expected a subclass of online_rl.algorithms.Algorithm, such as one of GRPO.")
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        _refuse(cfg, f"does not define {', '.join(missing)}. Write them, or derive the class from GRPO.")
    try:
        inspect.signature(found).bind(cfg, **cfg.algorithm.args)
    except TypeError as problem:
        _refuse(cfg, f"cannot be called with the config and algorithm.args={sorted(cfg.algorithm.args)}: {problem}.")
    make: Callable[..., Algorithm] = found
    algorithm, tried = (_call(cfg, "made", lambda: make(cfg, **cfg.algorithm.args)) for _ in range(2))
    _refuse_settings(algorithm, cfg)
    _try_out(tried, cfg)
    return algorithm


def _refuse_settings(algorithm: Algorithm, cfg: Config) -> None:
    """Apply the rules that for built-in algorithms are applied when the configuration is read."""
    size = algorithm.unit_size
    if size not in UNIT_SIZES:
        _refuse(cfg, f"has unit_size={size!r}; expected 1 (a completion) or 2 (a pair).")
    needed = size * cfg.rollout.max_model_len
    if cfg.train.micro_batch_tokens < needed:
        _refuse(
            cfg,
            f"has unit_size={size}, so train.micro_batch_tokens must hold {size} rows of rollout.max_model_len: found "
            f"{cfg.train.micro_batch_tokens}, expected at least {needed}. Raise it, or lower rollout.max_model_len.",
        )
    if cfg.scoring.behind and not algorithm.corrects_late:
        _refuse(
            cfg,
            "has corrects_late=False, and scoring.behind=1 gives it candidates of the policy before the last update. "
            "Weigh them by exp(old_logp - sampled) and set corrects_late, or set scoring.behind to 0.",
        )
    if not algorithm.needs_ref_model and (cfg.ref_model.sync_steps or cfg.ref_model.offload != "none"):
        _refuse(cfg, "has needs_ref_model=False, so no ref_model is kept. Remove ref_model.sync_steps and offload.")


def _try_out(algorithm: Algorithm, cfg: Config) -> None:
    size = cfg.rollout.group_size
    completions = [_completion(g, i) for g in range(TRIED_GROUPS) for i in range(size)]
    rollouts = Rollouts(completions, TRIED_GROUPS, size, version=0)
    list(rollouts)
    rewards: list[list[float | None]] = [[i / size for i in range(size)], [None] * size]  # the second is unscorable
    batch = _call(cfg, "asked by learn_from", lambda: algorithm.learn_from(rollouts, rewards))
    if not isinstance(batch, LearnBatch):
        _refuse(cfg, f"learn_from returned {type(batch).__name__}; expected a LearnBatch.")
    unlike = {len(unit) for unit in batch.units} - {algorithm.unit_size}
    if unlike or len(batch.units) != len(batch.advantages):
        _refuse(
            cfg,
            f"learn_from returned units of {sorted(unlike) or algorithm.unit_size} completions and "
            f"{len(batch.advantages)} advantages for {len(batch.units)} units; expected unit_size="
            f"{algorithm.unit_size} and one advantage per unit.",
        )
    if not batch.units:  # it may want other rewards than these
        return
    tokens = _tokens(batch, algorithm)
    total, count = _call(cfg, "asked for baseline_sums", lambda: algorithm.baseline_sums(tokens))
    answer = _call(cfg, "asked for its loss", lambda: algorithm.loss(tokens, total / max(count, 1.0)))
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict)):
        _refuse(cfg, f"loss returned {type(answer).__name__}; expected (sum of the units' losses, metrics).")
    loss = answer[0]
    if not (isinstance(loss, Tensor) and loss.ndim == 0 and loss.requires_grad):
        shape = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        _refuse(cfg, f"loss returned {shape}; expected one number, a tensor with gradient to tokens.logp.")


def _completion(group: int, candidate: int) -> Completion:
    study = Study(f"trial {group}", f"patient {group}", (), "", "", source="trial")
    ids = tuple(range(TRIED_TOKENS))
    return Completion(group, candidate, Prompt(study, "", (), (1,), {}), ids, (-1.0,) * TRIED_TOKENS, "", False)


def _tokens(batch: LearnBatch, algorithm: Algorithm) -> TokenBatch:
    """A pass of the units as the first update of a step sees it: policy, ref_model and vLLM agree."""
    rows = len(batch.units) * algorithm.unit_size
    logp = torch.full((rows, TRIED_TOKENS), -1.0, requires_grad=True)
    known, units = logp.detach(), torch.ones(len(batch.units))
    ref = known if algorithm.needs_ref_model else None
    return TokenBatch(logp, known, ref, known, torch.ones_like(known), torch.tensor(batch.advantages), units)


def _call(cfg: Config, doing: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (UserError, KeyboardInterrupt):
        raise
    except BaseException as problem:
        _refuse(cfg, f"raised {type(problem).__name__} when {doing}: {problem}. Correct it.", problem)


def _refuse(cfg: Config, problem: str, cause: BaseException | None = None) -> NoReturn:
    ALGORITHMS.refuse(cfg.algorithm.name, problem, cause)
