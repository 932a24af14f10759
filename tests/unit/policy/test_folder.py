"""Folders that are no model, or a broken one, are refused for what they are, before a model loads."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from online_rl.config import config_from_dict
from online_rl.demo.policy import make_model, save_policy
from online_rl.errors import ConfigError
from online_rl.policy.folder import refuse_no_model
from online_rl.policy.load import read_policy

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTS = "model.safetensors"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 123\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory, demo_processor):
    folder = tmp_path_factory.mktemp("policy")
    save_policy(folder, make_model(demo_processor, seed=0), demo_processor)
    return folder


@pytest.fixture
def policy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "policy")


def refusal(folder) -> str:
    with pytest.raises(ConfigError) as refused:
        read_policy(str(folder), config_from_dict({"model": {"path": str(folder), "dtype": "float32"}}))
    message = str(refused.value)
    assert message.startswith("model.path: ") and "network" not in message
    return message


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"adapter_config.json": '{"base_model_name_or_path": "acme/base"}'},
            "an adapter .* of 'acme/base'.*merge_and",
        ),
        ({"adapter_config.json": "{}", "adapter_model.safetensors": "x"}, "is an adapter .*expected a whole model"),
        ({"state.json": "{}", "complete": "{}"}, "is a checkpoint of online-rl.*online-rl export .*/policy --output"),
        (
            {"config.resolved.yaml": "", "model/config.json": "{}"},
            "is a run's folder.*Write run:.*, or name .*/policy/model, which",
        ),
        ({"config.resolved.yaml": "", "checkpoints/a": ""}, "is a run's folder.*online-rl export"),
        ({"latest": "global_step8", "zero_to_fp32.py": ""}, "is a checkpoint of DeepSpeed.*zero_to_fp32.py"),
        ({"snapshots/abc/config.json": "{}"}, "has no config.json; .*/policy/snapshots/abc has one"),
        ({"notes.txt": "", WEIGHTS: "x"}, "has no config.json, .*found model.safetensors, notes.txt"),
        ({}, "found nothing"),
        ({"config.json": POINTER}, "config.json is a pointer of Git LFS.*git lfs pull"),
        ({"config.json": '{"model_type": '}, "config.json cannot be read as JSON"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_for_what_it_is(tmp_path, files, words):
    for name, text in files.items():
        file = tmp_path / "policy" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "policy").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match=words):
        refuse_no_model(str(tmp_path / "policy"))
    refusal(tmp_path / "policy")


def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path):
    assert "no folder" in refusal(tmp_path / "nothing")
    (tmp_path / "policy.gguf").write_text("")
    assert "is a file, expected a model's folder" in refusal(tmp_path / "policy.gguf")
    refuse_no_model("Qwen/Qwen2.5-VL-3B-Instruct")


def test_weights_that_are_not_there_are_missed(policy):
    (policy / WEIGHTS).rename(policy / "weights.bin")
    assert "holds no weights (weights.bin is not read), expected model.safetensors" in refusal(policy)


@pytest.mark.parametrize("size", [0, 4, 700, 50_000])
def test_cut_weights_are_damaged(policy, size):
    os.truncate(policy / WEIGHTS, size)
    assert f"{WEIGHTS} ({size} bytes) is damaged or cut short" in refusal(policy)


@pytest.mark.parametrize("name", [WEIGHTS, "pytorch_model.bin"])
def test_a_pointer_is_not_the_weights(policy, name):
    (policy / WEIGHTS).unlink()
    (policy / name).write_text(POINTER)
    assert f"{name} is a pointer of Git LFS" in refusal(policy)


def in_two_files(policy, there):
    """Write the weights as two files with an index; only `there` of them are written."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(policy / WEIGHTS)
    names, shards = sorted(tensors), ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    parts = {shards[0]: names[::2], shards[1]: names[1::2]}
    for shard in shards[:there]:
        save_file({name: tensors[name] for name in parts[shard]}, policy / shard, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: shard for shard, held in parts.items() for name in held}}
    (policy / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    (policy / WEIGHTS).unlink()


def test_a_missing_file_of_several_is_named(policy):
    in_two_files(policy, there=1)
    assert "lacks 1 of its 2 files of weights (model-00002-of-00002.safetensors)" in refusal(policy)


def test_whole_weights_in_one_file_or_several_are_taken(policy):
    cfg = config_from_dict({"model": {"path": str(policy), "dtype": "float32"}})
    assert read_policy(str(policy), cfg)[0].model_type == "idefics3"
    in_two_files(policy, there=2)
    assert read_policy(str(policy), cfg)[0].model_type == "idefics3"
    (policy / f"{WEIGHTS}.index.json").write_text("{}")
    assert "names no files of weights" in refusal(policy)


@pytest.mark.parametrize(
    ("key", "factor", "words"),
    [
        ("intermediate_size", 2, r"weight\(s\) of .* do not have the shape .*mlp.*expected \["),
        ("num_hidden_layers", 2, r"lacks \d+ weight\(s\) that its config.json says .*they would be random"),
    ],
)
def test_weights_of_another_configuration_are_refused(policy, key, factor, words):
    config = json.loads((policy / "config.json").read_text())
    config["text_config"][key] *= factor
    (policy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=words):
        read_policy(str(policy), config_from_dict({"model": {"path": str(policy), "dtype": "float32"}}))


def test_a_folder_without_its_tokenizer_says_what_to_copy(policy):
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        (policy / name).unlink()
    message = refusal(policy)
    assert "the processor of" in message and "copy what is missing there" in message
