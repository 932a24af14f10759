"""A run goes on with its own checkpoint only, and older and younger versions are told apart from other settings."""

import shutil
from pathlib import Path

import pytest

from online_rl import checkpoint
from online_rl.config import config_from_dict, load_config
from online_rl.errors import CheckpointError
from online_rl.same_run import refuse_another_run


def saved(**sections):
    """What a checkpoint keeps of a run with these settings."""
    return {"world_size": 1, "config": config_from_dict(sections).model_dump(mode="json")}


def go_on(tmp_path, state, **sections):
    """Warnings."""
    warnings: list[str] = []
    refuse_another_run(tmp_path / "step-5", state, config_from_dict(sections), warnings.append)
    return warnings


def without(state, *keys):
    """As a version wrote it that did not have these keys."""
    for *parents, last in keys:
        place = state["config"]
        for part in parents:
            place = place[part]
        del place[last]
    return state


def test_a_judge_server_may_have_moved(tmp_path):
    def judges(**args):
        return [{"use": "http", "args": args}]

    state = saved(judges=judges(url="http://localhost:1", judge="words"))
    go_on(tmp_path, state, judges=judges(url="http://localhost:2", judge="words"))
    with pytest.raises(CheckpointError, match=r"^judges\[0\].args: .*'words'.*'other'"):
        go_on(tmp_path, state, judges=judges(url="http://localhost:2", judge="other"))


@pytest.mark.parametrize(
    ("judges", "message"),
    [
        ([{"use": "findings", "length_control": "none"}], r"^judges\[0\].length_control: .*'lc_green'.*'none'"),
        ([{"use": "identity"}], r"^judges: .*\['findings'\].*\['identity'\]"),
        ([{"use": "findings"}, {"use": "green", "weight": 0.0}], r"^judges: .*\['findings'\].*\['findings', 'green'\]"),
    ],
)
def test_another_judge_is_another_run(tmp_path, judges, message):
    with pytest.raises(CheckpointError, match=message):
        go_on(tmp_path, saved(judges=[{"use": "findings", "length_control": "lc_green"}]), judges=judges)


def test_keys_that_do_not_change_the_run_may_change(tmp_path):
    other = {
        "run": {"dir": "elsewhere"},
        "resume": "auto",
        "train": {"max_steps": 7, "save_every": 1, "keep_checkpoints": 9, "stop_after": 2},
        "eval": {"every": 3},
        "monitor": {"tensorboard": False, "samples": 2},
        "scoring": {"call_timeout_s": 1.0, "deadline_s": 70.0, "max_retries": 9, "workers": 1, "canary_every": 0},
        "rollout": {"gpu_memory_utilization": 0.5},
    }
    assert go_on(tmp_path, saved(), **other) == []


def test_a_run_may_go_on_with_smaller_passes(tmp_path):
    """The same sums in another layout: the way out where memory was too small."""
    train = {"micro_batch_tokens": 1024, "logits_chunk": 64}
    debug = {"image_features_once": False, "share_prompts": False, "read_ahead": False}
    other = {"model": {"gradient_checkpointing": True}, "train": train, "debug": debug}
    assert go_on(tmp_path, saved(), **other) == []


def test_a_run_may_go_on_with_what_a_message_told_it_to_change(tmp_path):
    rollout = {"max_model_len": 4096, "max_num_seqs": 8, "max_token_logp_difference": 9.0, "max_logp_difference": 1.0}
    other = {"data": {"bad_images_budget": 3}, "rollout": rollout, "scoring": {"max_unscorable_rate": 0.9}}
    assert go_on(tmp_path, saved(), **other) == []


def test_a_key_is_not_free_because_its_name_begins_like_a_free_one(tmp_path):
    """`eval` is free as a section; `scoring.deadline_s` is free, `scoring.truncated` is not."""
    with pytest.raises(CheckpointError, match=r"^scoring\.truncated: "):
        go_on(tmp_path, saved(), scoring={"truncated": "mask"})


def test_a_key_that_changes_nothing_learned_may_be_younger_than_the_checkpoint(tmp_path):
    state = without(saved(), ("debug", "share_prompts"), ("debug", "read_ahead"))
    assert go_on(tmp_path, state, debug={"share_prompts": True}) == []


def test_a_younger_key_at_its_default_is_told_and_gone_on_with(tmp_path):
    state = without(saved(), ("scoring", "truncated"), ("judges", 0, "length_unit"), ("guards",))
    [warning] = go_on(tmp_path, state)
    for told in ("step-5", "without", "scoring.truncated='score'", "judges[0].length_unit='words'", "guards=[]"):
        assert told in warning


@pytest.mark.parametrize(
    ("key", "sections", "words"),
    [
        (("scoring", "truncated"), {"scoring": {"truncated": "mask"}}, "'mask'. Go on with its default, 'score', or"),
        # The default is that of the algorithm that was trained, not of any.
        (
            ("algorithm", "grpo", "clip_high"),
            {"algorithm": {"name": "dapo", "grpo": {"clip_high": 0.3}}},
            "0.3. Go on with its default, 0.28, or",
        ),
        (("guards",), {"guards": [{"use": "identity"}]}, "['identity']. Go on with its default, [], or"),
    ],
)
def test_a_younger_key_at_another_value_is_refused_with_the_default_to_go_on_with(tmp_path, key, sections, words):
    with pytest.raises(CheckpointError) as refused:
        go_on(tmp_path, without(saved(**sections), key), **sections)
    message = str(refused.value)
    assert message.startswith(".".join(key) + ": ") and "version of online-rl without this key" in message
    assert words in message and "Set it back" not in message


@pytest.mark.parametrize(
    ("section", "key", "value"), [("algorithm", "warm_up_judge", 3), ("data", "section", "technique")]
)
def test_a_key_or_value_that_this_version_does_not_know_is_refused_with_what_was_trained(tmp_path, section, key, value):
    state = saved()
    state["config"][section][key] = value
    with pytest.raises(CheckpointError) as refused:
        go_on(tmp_path, state)
    message = str(refused.value)
    assert message.startswith(f"{section}.{key}: ") and f"trained with {value!r}" in message
    assert "Go on with the version that wrote it" in message and "Set it back" not in message


def test_a_free_key_that_this_version_does_not_know_is_no_obstacle(tmp_path):
    state = saved()
    state["config"]["monitor"]["colour"] = "blue"
    assert go_on(tmp_path, state) == []


def of_0_1(**dropped):
    """A checkpoint of online DPO in which version 0.1 kept its keys under their old names."""
    state = saved(algorithm={"name": "online_dpo", "preference": {"beta": 0.3}}, debug={"persistence_threshold": 0})
    config = state["config"]
    debug = config.pop("debug")
    config["algorithm"]["online_dpo"] = config["algorithm"].pop("preference")
    config["train"] |= {key: debug[key] for key in ("share_prompts", "image_features_once")}
    config["ref_model"]["read_ahead"] = debug["read_ahead"]
    config["deepspeed"] |= {"persistence_threshold": debug["persistence_threshold"], "bucket_elements": None}
    config["rollout"]["kv_cache_gib"] = 1.0
    config["data"]["max_eval_studies"] = 128
    config["scoring"]["unscorable_window"] = 20
    for name, value in dropped.items():
        section, _, key = name.partition("__")
        config[section][key] = value
    return state


DPO = {"algorithm": {"name": "online_dpo", "preference": {"beta": 0.3}}, "debug": {"persistence_threshold": 0}}


@pytest.mark.parametrize("dropped", [{}, {"rollout__kv_cache_gib": 4.0}, {"data__max_eval_studies": None}])
def test_a_checkpoint_of_0_1_is_continued_with_one_warning_that_names_old_and_new(tmp_path, dropped):
    [warning] = go_on(tmp_path, of_0_1(**dropped), **DPO)
    for pair in ("algorithm.online_dpo -> algorithm.preference", "train.share_prompts -> debug.share_prompts"):
        assert pair in warning
    assert "step-5" in warning


def test_values_under_old_names_are_compared(tmp_path):
    with pytest.raises(CheckpointError, match=r"^algorithm\.preference\.beta: .*0\.3.*0\.5"):
        go_on(tmp_path, of_0_1(), **(DPO | {"algorithm": {"name": "online_dpo", "preference": {"beta": 0.5}}}))


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        ({"scoring__unscorable_window": 5}, "scoring.unscorable_window: found 5"),
        ({"deepspeed__bucket_elements": 1000}, "deepspeed.bucket_elements: found 1000"),
    ],
)
def test_a_key_that_was_dropped_since_is_refused_by_name(tmp_path, dropped, words):
    with pytest.raises(CheckpointError) as refused:
        go_on(tmp_path, of_0_1(**dropped), **DPO)
    assert words in str(refused.value) and "step-5" in str(refused.value)
    assert "Continue it with version 0.1" in str(refused.value) and "Remove the key" not in str(refused.value)


def test_a_checkpoint_that_0_1_wrote_is_found_and_continued(tmp_path):
    """A fixture of tests/make_checkpoint_0_1.py, compared with its marker; an integration test trains on."""
    fixture = Path(__file__).resolve().parents[1] / "data" / "checkpoint_0_1"
    shutil.copytree(fixture / "step-2", tmp_path / "checkpoints" / "step-2")
    settings = ["rollout.kv_cache_gib=1.0", "resume=auto"]
    cfg = load_config(fixture / "config.resolved.yaml", [*settings, f"run.dir={tmp_path}"])
    warnings: list[str] = []
    found = checkpoint.find(cfg, warnings.append)
    assert found is not None and found.step == 2
    assert found.state["config"]["algorithm"]["online_dpo"]["beta"] == cfg.algorithm.preference.beta == 0.3
    assert (cfg.debug.share_prompts, cfg.debug.read_ahead, cfg.debug.persistence_threshold) == (False, False, 0)
    renamed, newer = warnings
    assert "deepspeed.persistence_threshold -> debug.persistence_threshold" in renamed
    assert "algorithm.args={}, data.args={}" in newer and "these defaults hold from here" in newer
    with pytest.raises(CheckpointError, match=r"^algorithm\.preference\.beta: "):
        again = load_config(
            fixture / "config.resolved.yaml", [*settings, f"run.dir={tmp_path}", "algorithm.online_dpo.beta=0.4"]
        )
        checkpoint.find(again, warnings.append)
