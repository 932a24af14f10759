"""What writes reports in an evaluation: vLLM with a policy's weights, and its silence.

Shared by `online-rl eval` and `online-rl eval-vqa`, so that both ask the policy in the same way.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from online_rl.commands.eval.source import Policy
from online_rl.config import Config
from online_rl.data.quarantine import Quarantine
from online_rl.data.study import Study
from online_rl.errors import ConfigError, JudgeFailed, PolicyMismatch, UserError

if TYPE_CHECKING:
    from online_rl.rollout.engine import RolloutEngine
    from online_rl.rollout.prompts import PromptBuilder
    from online_rl.rollout.types import Rollouts
    from online_rl.teacher_forcing import TeacherForcing

SHOWN_LINES = 20  # of what the engine said before a fault


@contextmanager
def quiet() -> Iterator[TextIO]:
    """Engine and libraries talk into a file that is thrown away; a fault of the program shows its end.

    Yields what was stderr before.
    """
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    before = (sys.stdout, sys.stderr)
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        sys.stdout = sys.stderr = said
        for stream in (1, 2):  # C++ as well
            os.dup2(said.fileno(), stream)
        try:
            yield terminal
        except Exception as problem:
            if not isinstance(problem, UserError | JudgeFailed | PolicyMismatch):
                said.flush()
                said.seek(0)
                terminal.writelines(said.readlines()[-SHOWN_LINES:])
            raise
        finally:
            for stream in (1, 2):
                os.dup2(terminal.fileno(), stream)
            sys.stdout, sys.stderr = before


@dataclass(frozen=True)
class Writer:
    """Studies in, `Rollouts` out: the most likely report of each.

    forcing  says how likely the policy finds their references; None for a policy that has no place for them
    """

    engine: RolloutEngine
    builder: PromptBuilder
    forcing: TeacherForcing | None

    def __call__(self, studies: Sequence[Study]) -> Rollouts:
        return self.engine.greedy(self.builder.build_all(studies))


def make_writer(cfg: Config, policy: Policy, path: str, judges: Sequence[Any], quarantine: Quarantine) -> Writer:
    """Make what writes reports: vLLM with the policy's weights, greedily, one rank, no launcher.

    path    what `policy.path` stands for on this machine
    judges  those that count tokens learn how

    Studies whose images cannot be decoded are missing from the rollouts, within `data.bad_images_budget`.
    """
    from transformers import AutoConfig, AutoProcessor

    from online_rl.policy.deepspeed import init_ranks
    from online_rl.policy.model import banned_token_ids
    from online_rl.rollout.engine import RolloutEngine
    from online_rl.rollout.prompts import PromptBuilder
    from online_rl.scoring.setup import count_tokens_with
    from online_rl.teacher_forcing import teacher_forcing

    hub = {
        "revision": None if Path(path).is_dir() else policy.revision,
        "trust_remote_code": cfg.model.trust_remote_code,
    }
    try:
        processor = AutoProcessor.from_pretrained(path, **hub)
        model_config = AutoConfig.from_pretrained(path, **hub)
    except (OSError, ValueError) as problem:
        reason = str(problem).partition("\n")[0]
        raise ConfigError(
            f"{path}: its processor or configuration cannot be loaded ({reason}). Expected a Hugging Face folder with "
            "config.json, processor and tokenizer, or a name that can be reached."
        ) from problem
    banned = banned_token_ids(model_config, processor.tokenizer)
    count_tokens_with(processor.tokenizer, judges)
    init_ranks(cfg)
    engine = RolloutEngine(path, cfg, processor, banned)
    if policy.shards:
        engine.load_weights(_weights(Path(policy.shards), path, cfg), version=0)
    builder = PromptBuilder(processor, cfg, quarantine)
    return Writer(engine, builder, teacher_forcing(engine, builder, cfg))


def _weights(shards: Path, path: str, cfg: Config) -> list[tuple[str, Any]]:
    """Every weight of a checkpoint under the name that vLLM knows."""
    from online_rl.commands.export.weights import checkpoint_weights, load_policy
    from online_rl.policy.names import disk_names

    model = load_policy(path, checkpoint_weights(shards, path, cfg), cfg)
    names = disk_names(model)
    return [(names[name], parameter.detach()) for name, parameter in model.named_parameters()]
