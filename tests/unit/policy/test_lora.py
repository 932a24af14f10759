"""Adapters: which layers get one, merged as peft merges, switched off without a trace, on disk as peft reads them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from online_rl.config import config_from_dict
from online_rl.errors import CheckpointError, ConfigError
from online_rl.policy import lora
from online_rl.policy.model import PolicyModel
from online_rl.policy.names import disk_names
from online_rl.policy.passes.collate import collate
from online_rl.policy.zero import sums

LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def config(dtype="float32", freeze_vision=True, **options):
    settings = {"rank": 4, "alpha": 6.0} | options
    return config_from_dict({"model": {"dtype": dtype, "freeze_vision": freeze_vision, "lora": settings}})


@pytest.fixture
def adapted(demo_model):
    """`adapted(cfg)`: (base, the same with adapters that have been trained a little, disk names)"""

    def make(cfg):
        model = copy.deepcopy(demo_model)
        names = disk_names(model)
        lora.add_adapters(model, cfg)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, p in model.named_parameters():
                if "lora_B" in name:
                    p.copy_(torch.randn(p.shape, generator=generator) * 0.05)
        return demo_model, model, names

    return make


def sent(model, names, only_changed=True):
    return {r.name: r.make(*r.parts) for r in lora.recipes(model, names, only_changed)}


def logp(model, completions):
    batch = collate([[c] for c in completions], [1.0] * len(completions), [0.0] * len(completions), pad_id=0)
    with torch.no_grad():
        return PolicyModel(model, [], 1.0)(batch)[0]


def test_every_linear_layer_of_the_language_part_by_default(demo_model):
    found = lora.targets(demo_model, config())
    assert len(found) == 4 * len(LAYERS)
    assert {name.rpartition(".")[2] for name in found} == set(LAYERS)
    assert all(".text_model." in name for name in found), "neither vision encoder nor projector nor output layer"
    everything = lora.targets(demo_model, config(freeze_vision=False))
    assert set(found) < set(everything) and any(".vision_model." in name for name in everything)


def test_names_are_ends_of_whole_words(demo_model):
    assert len(lora.targets(demo_model, config(target_modules=["q_proj", "layers.0.mlp.up_proj"]))) == 4 + 1
    assert len(lora.targets(demo_model, config(target_modules=["modality_projection.proj"]))) == 1
    with pytest.raises(ConfigError, match=r"found '_proj'.*expected some of: .*down_proj.*q_proj"):
        lora.targets(demo_model, config(target_modules=["q_proj", "_proj"]))
    with pytest.raises(ConfigError, match="found 'out_proj'.*vision encoder alone.*freeze_vision=true"):
        lora.targets(demo_model, config(target_modules=["out_proj"]))
    with pytest.raises(ConfigError, match="found 'lm_head'"):
        lora.targets(demo_model, config(target_modules=["lm_head"]))


def test_a_projector_is_not_of_the_language_part():
    from transformers import AutoConfig, AutoModelForImageTextToText

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = sizes | {"model_type": "qwen2", "vocab_size": 64, "num_key_value_heads": 2}
    vision = sizes | {"model_type": "siglip_vision_model", "image_size": 56, "patch_size": 14}
    llava = AutoConfig.for_model("llava_onevision", text_config=text, vision_config=vision)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(llava)
    found = lora.targets(model, config())
    assert len(found) == 2 * len(LAYERS) and all(".language_model." in name for name in found)
    assert lora.targets(model, config(target_modules=["linear_1"])) == ["model.multi_modal_projector.linear_1"]


def test_merged_is_what_peft_merges_and_the_base_stays(adapted):
    base, model, names = adapted(config())
    before = {name: p.clone() for name, p in model.named_parameters()}
    ours = sent(model, names, only_changed=False)
    assert all(p.equal(before[name]) for name, p in model.named_parameters())
    plain = dict(base.named_parameters())
    assert ours.keys() == set(names.values())
    assert all(p.equal(plain[lora.plain(n)]) for n, p in model.named_parameters() if "lora_" not in n)
    for layer in lora.adapted(model).values():
        layer.merge(safe_merge=True)
    theirs = {names[lora.plain(n)]: p for n, p in model.named_parameters() if "lora_" not in n}
    changed = 0
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-6)
        changed += not tensor.equal(plain[{v: k for k, v in names.items()}[name]])
    assert changed == 4 * len(LAYERS)


def test_merging_by_hand():
    """W + (alpha / r) B A with r = 1: [[1, 0], [0, 1]] + 2 * [[1], [3]] [[0.5, 1]] = [[2, 2], [3, 7]]."""
    merged = lora.merge(torch.eye(2), torch.tensor([[0.5, 1.0]]), torch.tensor([[1.0], [3.0]]), 2.0)
    assert merged.tolist() == [[2.0, 2.0], [3.0, 7.0]]


def test_bfloat16_is_rounded_once():
    w, a, b = (
        torch.randn(s, generator=torch.Generator().manual_seed(i)) for i, s in enumerate([(8, 6), (2, 6), (8, 2)])
    )
    w, a, b = w.bfloat16(), a.bfloat16(), b.bfloat16()
    exact = w.double() + 0.5 * (b.double() @ a.double())
    assert lora.merge(w, a, b, 0.5).equal(exact.to(torch.bfloat16))


def test_parts_that_an_engine_fuses_come_together(adapted):
    """vLLM holds q, k and v as one tensor: sending two of three would leave the third undefined."""
    _, model, names = adapted(config(target_modules=["q_proj", "v_proj"]))
    layer = {name.rpartition("layers.0.")[2] for name in sent(model, names) if "layers.0." in name}
    assert layer == {f"self_attn.{x}_proj.weight" for x in "qkvo"}


def test_switched_off_it_is_the_base(adapted, completions):
    base, model, _ = adapted(config())
    on = logp(model, completions)
    with lora.switched_off(model):
        off = logp(model, completions)
    assert off.equal(logp(base, completions))
    assert not on.equal(off) and logp(model, completions).equal(on)


def test_at_the_start_the_policy_is_the_base_and_the_adapters_do_not_depend_on_the_rank(demo_model, completions):
    first, second = copy.deepcopy(demo_model), copy.deepcopy(demo_model)
    lora.add_adapters(first, config())
    torch.randn(3)
    lora.add_adapters(second, config())
    assert logp(first, completions).equal(logp(demo_model, completions))
    trained = {n: p for n, p in first.named_parameters() if p.requires_grad}
    assert all(p.equal(dict(second.named_parameters())[n]) for n, p in trained.items())
    assert trained and all("lora_" in name for name in trained)


def test_peft_loads_what_is_saved_and_gives_the_same_model(adapted, completions, tmp_path):
    from peft import PeftModel

    base, model, names = adapted(config(target_modules=["q_proj", "down_proj"]))
    tensors = {r.name: r.make(*r.parts) for r in lora.adapter_recipes(model)}
    lora.save_adapter(tmp_path, tensors, model, sums(base.parameters()))
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path)
    assert logp(loaded.base_model.model, completions).equal(logp(model, completions))
    whole = loaded.merge_and_unload().state_dict()
    merged = lora.merged_weights(base, tmp_path)
    assert merged.keys() == dict(base.named_parameters()).keys()
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, whole[name], rtol=0, atol=1e-6)
    ours = sent(model, names, only_changed=False)
    assert all(tensor.equal(ours[names[name]]) for name, tensor in merged.items())


def test_an_adapter_of_another_model_is_refused(adapted, tmp_path):
    base, model, _ = adapted(config())
    lora.save_adapter(
        tmp_path, {r.name: r.make(*r.parts) for r in lora.adapter_recipes(model)}, model, sums(base.parameters())
    )
    with pytest.raises(CheckpointError, match="does not fit Sequential: it belongs to another model"):
        lora.merged_weights(nn.Sequential(nn.Linear(2, 2)), tmp_path)
    with torch.no_grad():
        other = copy.deepcopy(base)
        other.lm_head.weight[0, 0] += 0.01
    with pytest.raises(CheckpointError, match="trained on other weights"):
        lora.merged_weights(other, tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        lora.merged_weights(base, tmp_path / "nowhere")
