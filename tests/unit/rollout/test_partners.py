"""Engines that several ranks share: who shares with whom, what each holds of a weight, and what cannot be shared."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from online_rl.config import config_from_dict
from online_rl.errors import ConfigError
from online_rl.ranks import collectives
from online_rl.rollout.partners import Partners, refuse_uneven
from online_rl.rollout.sync_check import WHOLE, Cut, SyncCheck, cuts_of


def config(size: int):
    rollout = {"tensor_parallel_size": size, "studies_per_step": 8}
    return config_from_dict({"model": {"path": "any"}, "judges": [{"use": "findings"}], "rollout": rollout})


def test_one_process_has_an_engine_of_its_own_whatever_the_run_had():
    partners = Partners(config(4))
    assert (partners.size, partners.place, partners.share("mine")) == (1, 0, ["mine"])


@pytest.mark.parametrize("place", [0, 1])
def test_what_a_partner_holds_of_each_weight_is_found_and_compared(place):
    torch.manual_seed(0)
    sent = {"up": torch.randn(6, 4), "down": torch.randn(4, 6), "norm": torch.randn(4), "q": torch.randn(8, 4)}
    half = slice(3 * place, 3 * place + 3)
    model = nn.Module()
    model.fused = nn.Parameter(torch.cat([sent["q"][4 * place :][:4], sent["up"][half]]))  # cut along outputs
    model.down = nn.Parameter(sent["down"][:, half].clone())  # along inputs
    model.norm = nn.Parameter(sent["norm"].clone())
    check = SyncCheck(model, sent.items(), cuts_of(place, 2))
    assert check.not_found == [] and check.differing(model, sent.items()) == []
    cuts = {name: [p.cut for p in places] for name, places in check.places.items()}
    assert (cuts["up"], cuts["down"], cuts["norm"]) == ([Cut(0, 2, place)], [Cut(1, 2, place)], [WHOLE])

    changed = {name: tensor.clone() for name, tensor in sent.items()}
    changed["down"][:, 3 * place] += 1
    changed["up"][3 * (1 - place)] += 1  # the other's half
    assert check.differing(model, changed.items()) == ["down"]


def test_heads_of_keys_that_are_fewer_than_partners_stand_with_several_of_them():
    sent = {"k": torch.randn(4, 3)}  # two heads for four partners
    held = []
    for place in range(4):
        model = nn.Module()
        model.k = nn.Parameter(sent["k"][2 * (place // 2) :][:2].clone())
        held += [found.cut for found in SyncCheck(model, sent.items(), cuts_of(place, 4)).places["k"]]
    assert held == [Cut(0, 2, 0), Cut(0, 2, 0), Cut(0, 2, 1), Cut(0, 2, 1)]


def test_queries_keys_and_values_that_are_one_on_disk_are_cut_each_for_itself():
    qkv = torch.randn(12, 5)
    model = nn.Module()
    model.qkv = nn.Parameter(torch.cat([block[2:] for block in qkv.chunk(3)]))  # the second half of each
    assert SyncCheck(model, [("qkv", qkv)], cuts_of(1, 2)).differing(model, [("qkv", qkv)]) == []
    assert SyncCheck(model, [("qkv", qkv)], cuts_of(0, 2)).not_found == ["qkv"]


def test_a_bias_of_zeros_may_lie_in_any_part_and_is_compared_once_it_has_learned():
    model = nn.Module()
    model.bias = nn.Parameter(torch.zeros(6))  # half of queries, keys and values of four each
    check = SyncCheck(model, [("k", torch.zeros(4))], cuts_of(1, 2))
    learned = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert check.differing(model, [("k", learned)]) == ["k"], "it was not taken"
    model.bias = nn.Parameter(torch.tensor([0.0, 0.0, 3.0, 4.0, 0.0, 0.0]))
    assert check.differing(model, [("k", learned)]) == []


def test_heads_or_machines_that_cannot_be_shared_out_are_refused(monkeypatch):
    def policy(heads: int, fewer: int = 2, seeing: int = 16):
        text = SimpleNamespace(num_attention_heads=heads, num_key_value_heads=fewer)
        return SimpleNamespace(get_text_config=lambda: text, vision_config=SimpleNamespace(num_heads=seeing))

    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_SIZE", "8")
    refuse_uneven(policy(16), config(4))
    with pytest.raises(
        ConfigError, match="tensor_parallel_size: found 4, expected a divisor of the policy's 6 attention"
    ):
        refuse_uneven(policy(6), config(4))
    with pytest.raises(ConfigError, match="the policy's 6 heads of keys and values"):
        refuse_uneven(policy(16, 6), config(4))
    with pytest.raises(ConfigError, match="the 6 attention heads of the policy's vision encoder"):
        refuse_uneven(policy(16, seeing=6), config(4))
    monkeypatch.setenv("LOCAL_SIZE", "2")
    with pytest.raises(ConfigError, match="found 4, expected a divisor of the 2 ranks on this machine"):
        refuse_uneven(policy(16), config(4))


def test_buffers_of_a_run_that_has_ended_are_forgotten_and_those_of_others_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr("online_rl.rollout.partners.SHARED_MEMORY", tmp_path)
    names = ["-tp:0-[0-1]-cpushm_0", "-tp:0-[0-1]-cpushm_1", "-tp:0-[2-3]-cpushm_0", "-pp:0-[0-1]-cpushm_0"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    partners = Partners(config(1))
    partners.forget_buffers()
    assert len(list(tmp_path.iterdir())) == 4, "an engine of one rank has none"
    partners.size = 2
    partners.forget_buffers()
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(names[1:]), "each rank forgets its own"


def test_ranks_that_do_not_divide_are_refused_before_anything_is_loaded():
    config(4).check_world(8)
    with pytest.raises(ConfigError, match="tensor_parallel_size: found 4, expected a divisor of the 2 ranks"):
        config(4).check_world(2)


class Steps:
    """Three steps that partners take together, as vLLM's."""

    left = 3

    def step(self):
        dist.barrier()
        self.left -= 1

    def finish(self):
        while self.left:
            self.step()


def two_partners(rank, folder, results):
    """Runs in a process of its own."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    partners, told = Partners(config(2)), []
    told.append(partners.share(f"prompts of {rank}"))
    try:
        with collectives.together():
            if rank == 1:
                raise ValueError("row 7")
            partners.share("never met")
    except Exception as error:
        told.append(f"{type(error).__name__}: {error}")
    engine = Steps()
    collectives.finish_first(engine.finish)
    try:
        with collectives.together(), collectives.together():
            while engine.left:
                engine.step()
                if rank == 1:
                    raise KeyError("in the first of three steps")
    except Exception as error:
        told.append(f"{type(error).__name__}: {error}")
    told.append(partners.share(engine.left))
    results[rank] = told
    dist.destroy_process_group()


def test_a_partner_that_fails_leaves_no_other_waiting(tmp_path):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(two_partners, (str(tmp_path), results), nprocs=2)
        first, second = results[0], results[1]
    assert first[0] == second[0] == ["prompts of 0", "prompts of 1"]
    assert (first[1], second[1]) == ("RankFailed: rank 1 stopped: ValueError: row 7", "ValueError: row 7")
    assert first[2].startswith("RankFailed: rank 1 stopped: KeyError") and second[2].startswith("KeyError")
    assert first[3] == second[3] == [0, 0], "both are through with all steps, and still understand each other"
