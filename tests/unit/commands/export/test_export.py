"""Exports: compared tensor by tensor, refused or removed where something is wrong, described without a path."""

from __future__ import annotations

import resource
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from online_rl import checkpoint
from online_rl.commands.export import write
from online_rl.commands.export.try_out import trial
from online_rl.commands.export.weights import compare, load_policy, tensors_on_disk
from online_rl.config import config_from_dict
from online_rl.demo.policy import make_model, save_policy
from online_rl.errors import CheckpointError, ConfigError

CONFIG = config_from_dict(
    {
        "model": {"dtype": "float32"},
        "judges": [
            {"use": "findings", "length_control": "lc_green", "args": {"normal_weight": 0.25}},
            {"use": "/home/someone/secret/mine.py:short", "weight": 0.5},
            {"use": "findings", "name": "guard", "weight": 0.0},
        ],
        "data": {"reader": "jsonl", "path": "/home/someone/secret/studies.jsonl"},
        "rollout": {"max_model_len": 256, "max_completion_tokens": 96},
    }
)


@pytest.fixture(scope="module")
def policy(tmp_path_factory, demo_processor):
    """(folder, what a checkpoint of it would hold: other numbers than the folder's)"""
    folder = tmp_path_factory.mktemp("policy")
    model = make_model(demo_processor, seed=0)
    save_policy(folder, model, demo_processor)
    with torch.no_grad():
        weights = {name: p.detach() + 0.25 for name, p in model.named_parameters()}
    return folder, weights


@pytest.fixture
def exported(policy, tmp_path):
    folder, weights = policy
    model = load_policy(str(folder), weights, CONFIG)
    model.save_pretrained(tmp_path / "out")
    return tmp_path / "out", weights, model


def test_every_tensor_is_the_checkpoints(exported):
    folder, weights, model = exported
    assert compare(folder, weights, model, torch.float32) == len(weights)
    on_disk = dict(tensors_on_disk(folder))
    assert on_disk["lm_head.weight"].equal(weights["lm_head.weight"])


def test_in_bfloat16_the_masters_are_rounded_once(policy, tmp_path):
    folder, weights = policy
    half = CONFIG.model_copy(update={"model": CONFIG.model.model_copy(update={"dtype": "bfloat16"})})
    model = load_policy(str(folder), weights, half)
    model.save_pretrained(tmp_path)
    assert compare(tmp_path, weights, model, torch.bfloat16) == len(weights)
    with pytest.raises(CheckpointError, match="is not what the checkpoint holds"):
        compare(tmp_path, weights, model, torch.float32)


def test_one_bit_is_seen(exported):
    folder, weights, model = exported
    name = "model.text_model.norm.weight"
    off = weights[name].clone()
    off[3] = torch.nextafter(off[3], torch.tensor(9.0))
    with pytest.raises(CheckpointError, match=r"norm\.weight is not what the checkpoint holds"):
        compare(folder, weights | {name: off}, model, torch.float32)


def test_a_missing_and_a_foreign_tensor_are_seen(exported):
    from safetensors.torch import load_file, save_file

    folder, weights, model = exported
    state = load_file(folder / "model.safetensors")
    lost = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
    save_file(lost, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors \(lm_head.weight"):
        compare(folder, weights, model, torch.float32)
    save_file(state | {"more": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="holds more"):
        compare(folder, weights, model, torch.float32)


def test_weights_of_another_model_are_refused(policy):
    folder, weights = policy
    fewer = {name: tensor for name, tensor in weights.items() if name != "lm_head.weight"}
    with pytest.raises(CheckpointError, match="lacks 1 of .*another model"):
        load_policy(str(folder), fewer, CONFIG)
    with pytest.raises(CheckpointError, match=r"lm_head\.weight: found shape \(2, 2\)"):
        load_policy(str(folder), weights | {"lm_head.weight": torch.zeros(2, 2)}, CONFIG)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_policy(str(folder / "nowhere"), weights, CONFIG)


def test_the_trial_loads_a_folder_and_sees_a_missing_tensor(policy):
    from safetensors.torch import load_file, save_file

    folder, _ = policy
    data = CONFIG.model_dump(mode="json")
    data["model"]["path"] = str(folder)
    assert trial(folder, data, with_vllm=False)["by"].startswith("transformers ")
    state = load_file(folder / "model.safetensors")
    try:
        lost = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
        save_file(lost, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match="missing_keys: lm_head.weight"):
            trial(folder, data, with_vllm=False)
    finally:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_full_disk_leaves_nothing_behind(policy, tmp_path):
    folder, weights = policy
    model = load_policy(str(folder), weights, CONFIG)
    partial = tmp_path / ".out.partial"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(CheckpointError, match=r"cannot be written.*[GM]iB free"), write._aside(partial):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))  # the weights have 12 MB
            model.save_pretrained(partial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_under_the_tokenizer_is_told_in_words(demo_processor, tmp_path):
    """Its writer raises a bare Exception."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(CheckpointError, match=r"os error.* free\)"), write._aside(tmp_path / ".out.partial"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
            demo_processor.tokenizer.backend_tokenizer.save(str(tmp_path / ".out.partial" / "tokenizer.json"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ZeroDivisionError), write._aside(tmp_path / ".out.partial"):
        raise ZeroDivisionError  # a fault of the program stays one


def test_what_a_killed_export_left_does_not_get_into_the_next(tmp_path):
    partial = tmp_path / ".out.partial"
    partial.mkdir()
    (partial / "half.safetensors").touch()
    with write._aside(partial):
        assert list(partial.iterdir()) == []


def test_tied_weights_are_written_once_and_compared(demo_processor, tmp_path):
    model = make_model(demo_processor, seed=0)
    config = model.config
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    tied = type(model)(config)
    save_policy(tmp_path / "policy", tied, demo_processor)
    weights = {name: p.detach() + 0.25 for name, p in tied.named_parameters()}
    assert "lm_head.weight" not in weights
    again = load_policy(str(tmp_path / "policy"), weights, CONFIG)
    again.save_pretrained(tmp_path / "out")
    assert compare(tmp_path / "out", weights, again, torch.float32) == len(weights)


def test_too_small_a_disk_is_refused_with_both_numbers(tmp_path):
    with pytest.raises(CheckpointError, match=r"[GM]iB free, expected at least 1048576\.00 GiB"):
        write._refuse_a_small_disk(tmp_path, 2**50)
    assert write._size(12 * 2**20) == "12.0 MiB"  # not 0.01 GiB


def test_what_is_no_run_and_what_is_in_the_way_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        write.export(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        write.export(tmp_path, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").touch()
    with pytest.raises(ConfigError, match="--output: .*not an empty folder"):
        write.export(tmp_path, tmp_path / "out")


def test_of_a_run_that_is_being_written_the_newest_whole_checkpoint_is_exported(tmp_path, monkeypatch):
    run, told, taken = tmp_path / "run", [], []
    weights = SimpleNamespace(save=lambda folder: (folder / "weights").write_bytes(b"w"))
    for step in (4, 6):
        checkpoint.save(run, step, weights, {}, CONFIG)
    (run / "checkpoints" / "step-6" / "complete").unlink()  # renamed, and not yet called whole
    (run / "checkpoints" / "step-8.partial").mkdir()

    def write_policy(found, run_dir, cfg, partial, with_vllm, say):
        taken.append((found.step, run_dir))
        (partial / "model.safetensors").touch()

    monkeypatch.setattr(write, "_write", write_policy)
    assert write.export(run, tmp_path / "out", say=told.append) == tmp_path / "out"
    assert taken == [(4, run)] and (tmp_path / "out" / "model.safetensors").is_file()
    assert "step-6: no marker" in told[0] and "step 4" in told[1]
    steps = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert steps == ["step-4", "step-6", "step-8.partial"], "what the run is writing is left alone"


def test_an_export_into_the_folder_where_one_stands(tmp_path, monkeypatch):
    weights = SimpleNamespace(save=lambda folder: (folder / "weights").write_bytes(b"w"))
    checkpoint.save(tmp_path / "run", 4, weights, {}, CONFIG)
    monkeypatch.setattr(write, "_write", lambda found, run_dir, cfg, partial, *rest: (partial / "config.json").touch())
    here = tmp_path / "empty"
    here.mkdir()
    monkeypatch.chdir(here)
    told: list[str] = []
    assert write.export(Path("../run"), Path("."), say=told.append) == here
    assert [path.name for path in here.iterdir()] == ["config.json"] and "made anew" in told[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "run"]


def test_an_export_does_not_lie_among_the_checkpoints(tmp_path):
    weights = SimpleNamespace(save=lambda folder: (folder / "weights").write_bytes(b"w"))
    checkpoint.save(tmp_path, 4, weights, {}, CONFIG)
    for output in (tmp_path / "checkpoints" / "step-9", tmp_path / "checkpoints" / "step-4" / "model"):
        with pytest.raises(ConfigError, match="--output: .*among the checkpoints"):
            write.export(tmp_path, output)


def test_a_checkpoint_of_another_version_is_named(tmp_path):
    found = checkpoint.Checkpoint(tmp_path, 3, {"config": {"rolout": {}}})
    with pytest.raises(CheckpointError, match="another version"):
        write._configuration(found)
