"""What the ref_model has read ahead is not read again, and is the same."""

from __future__ import annotations

import copy

import pytest
import torch

from online_rl.algorithms import LearnBatch
from online_rl.config import config_from_dict
from online_rl.config.model import RefModel as Settings
from online_rl.errors import CheckpointError
from online_rl.policy import lora
from online_rl.policy.model import PolicyModel
from online_rl.policy.passes.plan import PassSettings, micro_batches
from online_rl.policy.ref_model import RefModel

pytestmark = pytest.mark.usefixtures("one_thread")


class Engine:
    """DeepSpeed's, as far as a forward pass goes; counts them."""

    def __init__(self, module):
        self.module, self.passes = module, 0

    def __call__(self, batch):
        self.passes += 1
        return self.module(batch)

    def eval(self):
        self.module.eval()

    def train(self):
        self.module.train()


@pytest.fixture
def ref_model(demo_model):
    return RefModel(Engine(PolicyModel(demo_model, [], 1.0)), None, Settings())


def passes(units, size, budget, filler):
    batch = LearnBatch(units, [1.0] * len(units), size, filler)
    return micro_batches(batch, slice(None), PassSettings(budget, 0, share_prompts=True), {})


@pytest.fixture
def candidates(completions, make_completion):
    """Three of each of three studies."""
    return [
        make_completion(ids=tuple(range(40 + i, 42 + i + g)), prompt=one.prompt)
        for g, one in enumerate(completions)
        for i in range(3)
    ]


@pytest.fixture
def pairs(candidates):
    """The second and the first of each study."""
    return [(candidates[g + 1], candidates[g]) for g in range(0, 9, 3)]


def test_read_ahead_gives_what_reading_gives(ref_model, candidates, pairs):
    wanted = passes(pairs, 2, 100, candidates[0])
    expected = ref_model.logp(wanted)
    once = ref_model.engine.passes
    for mb in passes([(c,) for c in candidates], 1, 10_000, candidates[0]):
        ref_model.read(mb)
    read = ref_model.engine.passes
    for mine, other in zip(ref_model.logp(wanted), expected, strict=True):
        assert mine.shape == other.shape and not mine.requires_grad
        torch.testing.assert_close(mine, other, atol=2e-5, rtol=1e-5)
    assert ref_model.engine.passes == read > once == len(wanted) > 1, "no pass twice"
    ref_model.after_step(1)
    ref_model.logp(wanted)
    assert ref_model.engine.passes == read + len(wanted), "another step's policy may be another ref_model's"


def test_a_copied_candidate_is_not_read_again(ref_model, candidates, pairs):
    for mb in passes([(c,) for c in copy.deepcopy(candidates)], 1, 10_000, candidates[0]):
        ref_model.read(mb)
    read = ref_model.engine.passes
    ref_model.logp(passes(pairs, 2, 100, candidates[0]))
    assert ref_model.engine.passes == read


def test_what_was_not_reached_is_read_then(ref_model, candidates, pairs):
    wanted = passes(pairs, 2, 100, candidates[0])
    assert len(wanted) == 3, "a study each"
    expected = ref_model.logp(wanted)
    whole = wanted[1].completions[0].prompt
    for mb in passes([(c,) for c in candidates if c.prompt is whole], 1, 10_000, candidates[0]):
        ref_model.read(mb)
    before = ref_model.engine.passes
    for mine, other in zip(ref_model.logp(wanted), expected, strict=True):
        torch.testing.assert_close(mine, other, atol=2e-5, rtol=1e-5)
    assert ref_model.engine.passes == before + 2


def test_every_rank_runs_a_pass_that_another_must(ref_model, candidates, pairs, monkeypatch):
    wanted = passes(pairs, 2, 100, candidates[0])
    for mb in passes([(c,) for c in candidates], 1, 10_000, candidates[0]):
        ref_model.read(mb)
    before = ref_model.engine.passes
    monkeypatch.setattr("online_rl.ranks.collectives.reduce_numbers", lambda mine, op: [1.0, *mine[1:]])
    ref_model.logp(wanted)
    assert ref_model.engine.passes == before + 1


def test_the_base_under_adapters_draws_no_dropout(demo_model, completions):
    """Or what is read ahead, which depends on how late the scores are, would change the policy's own dropout."""
    model = copy.deepcopy(demo_model)
    lora.add_adapters(model, config_from_dict({"model": {"dtype": "float32", "lora": {"rank": 2, "dropout": 0.5}}}))
    engine = Engine(PolicyModel(model, [], 1.0))
    engine.train()
    before = torch.get_rng_state()
    [found] = RefModel(engine, engine, Settings()).logp(wanted := passes([(c,) for c in completions], 1, 10_000, None))
    assert torch.equal(torch.get_rng_state(), before)
    assert engine.module.training
    [expected] = RefModel(Engine(PolicyModel(demo_model, [], 1.0)), None, Settings()).logp(wanted)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("damage", ["cut", "other policy", "gone"])
def test_damaged_shards_are_a_checkpoint_that_cannot_be_used(demo_model, tmp_path, monkeypatch, damage):
    monkeypatch.setattr("online_rl.policy.ref_model.shard", lambda p: p.data)
    engine = Engine(PolicyModel(demo_model, [], 1.0))
    model = RefModel(engine, engine, Settings(sync_steps=1))
    model.save(tmp_path)
    [file] = (tmp_path / "ref_model").iterdir()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif damage == "other policy":
        torch.save({"another": torch.zeros(1)}, file)
    else:
        file.unlink()
    with pytest.raises(CheckpointError, match="rank-0.pt"):
        model.load(tmp_path)
