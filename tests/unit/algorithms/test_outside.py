"""Algorithms from outside: the documented one by arithmetic, and every way in which a user's class can be wrong."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pytest
import torch

from online_rl.algorithms import GRPO, TokenBatch, make_algorithm
from online_rl.config import config_from_dict
from online_rl.errors import ConfigError
from online_rl.monitor.hparams import hyperparameters

pytestmark = pytest.mark.usefixtures("one_thread")

HEAD = "from online_rl.algorithms import GRPO, Algorithm, LearnBatch\n"


def config(use, **sections):
    algorithm = {"name": str(use), **sections.pop("algorithm", {})}
    return config_from_dict({"algorithm": algorithm, **sections})


@pytest.fixture
def documented(root, tmp_path) -> Path:
    """The file of docs/algorithms.md."""
    [text] = re.findall(
        r"^```python\n(# my_loss\.py\n.*?)^```$", (root / "docs" / "algorithms.md").read_text(), re.M | re.S
    )
    (tmp_path / "my_loss.py").write_text(text)
    return tmp_path / "my_loss.py"


def test_the_documented_loss_by_hand(documented):
    algorithm = make_algorithm(config(f"{documented}:SoftGate", algorithm={"args": {"down": 2.0}}))
    # Ratios 2 and 1 of a candidate with A = 3, and 1/2 of one with A = -1 that has one token; the third row fills.
    logp = torch.tensor([[math.log(2.0), 0.0], [math.log(0.5), 0.0], [0.0, 0.0]], requires_grad=True)
    old, mask = torch.zeros(3, 2), torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    advantages, weights = torch.tensor([3.0, -1.0, 9.0]), torch.tensor([1.0, 1.0, 0.0])
    loss, metrics = algorithm.loss(TokenBatch(logp, old, None, old, mask, advantages, weights))
    # -4 sigmoid(2 - 1) 3 = -8.7727 and -4 sigmoid(0) 3 = -6, mean -7.3864; 4/2 sigmoid(2 (1/2 - 1)) = 0.5379.
    assert loss.item() == pytest.approx(-7.38635 + 0.53788, abs=1e-4)
    assert metrics["clip_ratio/high_mean"].count == 3.0, "tokens that count"
    loss.backward()
    # At ratio 1 the slope is that of GRPO: -A / tokens.
    assert logp.grad[0, 1].item() == pytest.approx(-1.5) and not logp.grad[2].any()


def test_it_has_its_parents_keys_and_its_own_arguments(documented):
    cfg = config(f"{documented}:SoftGate", algorithm={"grpo": {"kl_coef": 0.1}, "args": {"up": 3.0}})
    algorithm = make_algorithm(cfg)
    assert isinstance(algorithm, GRPO) and algorithm.up == 3.0 and algorithm.needs_ref_model
    assert cfg.algorithm.label == "SoftGate" and cfg.algorithm.grpo.clip_high == 0.2
    assert hyperparameters(cfg)["algorithm.grpo.kl_coef"] == 0.1
    cfg.check_world(2)


def test_a_module_and_an_entry_point(documented, tmp_path, monkeypatch):
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[online_rl.algorithms]\nsoft_gate = my_loss:SoftGate\nother = not_there:X\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for use in ("my_loss:SoftGate", "soft_gate"):
        assert type(make_algorithm(config(use))).__name__ == "SoftGate"
    assert "not_there" not in sys.modules
    with pytest.raises(
        ConfigError, match=r"algorithm\.name: found 'soft_gat', expected one of .*Did you mean 'soft_gate'"
    ):
        config("soft_gat")
    with pytest.raises(
        ConfigError, match=r"algorithm\.name 'other': its entry point 'not_there:X' raised ModuleNotFound"
    ):
        make_algorithm(config("other"))
    sys.modules.pop("my_loss")


def test_the_configuration_is_read_without_importing_anything(tmp_path):
    cfg = config(f"{tmp_path}/gone.py:X")
    assert config_from_dict(cfg.model_dump(mode="json")) == cfg, "a run can be exported where the file is not"
    with pytest.raises(ConfigError, match=r"algorithm\.name '.*gone\.py:X': no file .*gone\.py .*Correct the path"):
        make_algorithm(cfg)


def test_built_in_algorithms_take_no_arguments():
    with pytest.raises(
        ConfigError, match=r"algorithm\.args: found \['up'\] with algorithm\.name=grpo, expected nothing"
    ):
        config("grpo", algorithm={"args": {"up": 1.0}})


WRONG = [
    ("X = 3", {}, "is of type int; expected a subclass"),
    ("class X: pass", {}, "is the class X; expected a subclass"),
    ("class X(Algorithm):\n    def teaches(self, r): return True", {}, "does not define learn_from, loss"),
    ("class Y(GRPO): pass", {}, "has no 'X'; it holds: Y"),
    (
        "class X(GRPO): pass",
        {"algorithm": {"args": {"tau": 1}}},
        r"algorithm.args=\['tau'\]: got an unexpected keyword",
    ),
    ("class X(GRPO):\n    unit_size = 3", {}, "has unit_size=3; expected 1"),
    (
        "class X(GRPO):\n    unit_size = 2",
        {"train": {"micro_batch_tokens": 1500}},
        "expected at least 2048",
    ),
    ("class X(GRPO): pass", {"ref_model": {"sync_steps": 2}}, "needs_ref_model=False"),
    ("class X(GRPO):\n    def learn_from(self, *a): return []", {}, "learn_from returned list; expected a LearnBatch"),
    (
        "class X(GRPO):\n    def learn_from(self, r, w):\n        (g, *_) = r.groups\n"
        "        return LearnBatch([tuple(g[:2])], [1.0], 2, g[0])",
        {},
        r"units of \[2\] completions and 1 advantages for 1 units; expected unit_size=1",
    ),
    ("class X(GRPO):\n    def loss(self, tokens, baseline=0.0): return 1.0", {}, "loss returned float; expected"),
    ("class X(GRPO):\n    def loss(self, t, b=0.0): return t.logp, {}", {}, r"a tensor of shape \(8, 3\)"),
    (
        "class X(GRPO):\n    def loss(self, t, b=0.0): return t.old_logp.sum(), {}",
        {},
        "expected one number, a tensor with",
    ),
]


@pytest.mark.parametrize(("text", "sections", "message"), WRONG)
def test_what_a_class_can_be_wrong_about(tmp_path, text, sections, message):
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text)
    with pytest.raises(ConfigError, match=rf"algorithm\.name '.*mine\.py:X'.*{message}"):
        make_algorithm(config(f"{path}:X", **sections))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def __init__(self, cfg):\n        raise KeyError('tau')", r"raised KeyError when made: 'tau'.*mine\.py:4"),
        ("def policy_loss(self, *a):\n        return a[0] @ a[0]", r"raised RuntimeError when asked.*mine\.py:4"),
        ("def learn_from(self, r, w):\n        return sum(w[1])", r"raised TypeError when asked by.*mine\.py:4"),
    ],
)
def test_what_it_raises_is_told_with_its_line(tmp_path, body, message):
    path = tmp_path / "mine.py"
    path.write_text(f"{HEAD}class X(GRPO):\n    {body}\n")
    with pytest.raises(ConfigError, match=message):
        make_algorithm(config(f"{path}:X"))
