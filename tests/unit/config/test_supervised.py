"""The supervised stage's keys, its folder, and policies named as run:RUN."""

from __future__ import annotations

import pytest

from online_rl.config import config_from_dict, load_config
from online_rl.config.supervised import stage_config, stage_folder
from online_rl.errors import ConfigError
from online_rl.policy.folder import refuse_no_model

KL = {"algorithm": {"grpo": {"kl_coef": 0.1}}}  # so that there is a ref_model


@pytest.mark.parametrize(
    ("run_dir", "named", "folder"),
    [
        ("runs/mine", False, "runs/mine-sft"),
        ("runs/mine/", False, "runs/mine-sft"),
        ("runs/mine-sft", False, "runs/mine-sft"),  # a resolved configuration of the stage itself
        ("runs/first", True, "runs/first"),
    ],
)
def test_the_stage_has_a_folder_of_its_own_unless_the_command_line_names_one(run_dir, named, folder):
    assert stage_folder(run_dir, named) == folder


def test_the_stages_numbers_stand_where_the_trainer_reads_them():
    cfg = config_from_dict(
        {
            "sft": {"epochs": 2, "learning_rate": 3e-4, "studies_per_step": 8},
            "train": {"learning_rate": 1e-6, "max_steps": 99, "passes": 2, "weight_decay": 0.5},
            "rollout": {"temperature": 0.7},
            "eval": {"every": 5, "metric_for_best_model": "reward"},
        }
    )
    own = stage_config(cfg, studies=21, world_size=2)
    assert own.train.max_steps == 6  # 2 x 21 / 8 = 5.25
    assert (own.train.learning_rate, own.rollout.studies_per_step, own.train.passes) == (3e-4, 8, 1)
    assert (own.rollout.temperature, own.eval.metric_for_best_model) == (1.0, None)
    assert (own.train.weight_decay, own.eval.every) == (0.5, 5)  # shared with the online stage
    assert (cfg.train.max_steps, cfg.rollout.temperature) == (99, 0.7)  # which keeps its own
    assert config_from_dict(own.model_dump(mode="json")) == own  # a resolved file loads


def test_steps_may_be_given_instead_of_epochs():
    assert stage_config(config_from_dict({"sft": {"max_steps": 3}}), 64, 1).train.max_steps == 3


@pytest.mark.parametrize(
    ("size", "studies", "ranks", "words"),
    [
        (6, 64, 4, "sft.studies_per_step: found 6, expected a multiple of the 4 ranks .*above is 8"),
        (64, 21, 2, "sft.studies_per_step: found 64, expected at most 21, the number of studies .*Lower it"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(size, studies, ranks, words):
    with pytest.raises(ConfigError, match=words):
        stage_config(config_from_dict({"sft": {"studies_per_step": size}}), studies, ranks)


def test_a_run_that_has_ended_stands_for_its_model(tmp_path):
    model = tmp_path / "sft" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    for key in ("model", "ref_model"):
        cfg = config_from_dict({key: {"path": f"run:{tmp_path / 'sft'}"}, **KL})
        assert getattr(cfg, key).path == str(model)
    assert load_config({}, [f"model.path=run:{tmp_path}/sft"]).model.path == str(model)


def test_a_run_below_the_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "sft" / "model").mkdir(parents=True)
    (tmp_path / "sft" / "model" / "config.json").write_text("{}")
    for place in ("run:~/sft", "run:$HOME/sft"):
        assert config_from_dict({"model": {"path": place}}).model.path == str(tmp_path / "sft" / "model")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, "there is no such folder .looked from .*Correct the path"),
        ((), "holds no run .no config.resolved.yaml"),
        (("config.json",), "is a model's folder. Name it without run:"),
        (("state.json",), "is one of a run's checkpoints. Write it as a model, `online-rl export"),
        (("config.resolved.yaml",), "has no model/ yet. Let it end .resume=auto"),
    ],
)
@pytest.mark.parametrize("key", ["model.path", "ref_model.path"])
def test_a_run_without_a_policy_is_refused_with_what_is_there(tmp_path, files, words, key):
    place = tmp_path / "it"
    if files is not None:
        place.mkdir()
        for name in files:
            (place / name).touch()
    section = key.partition(".")[0]
    path = getattr(
        config_from_dict({section: {"path": f"run:{place}"}, **KL}), section
    ).path  # loads: for another machine
    with pytest.raises(ConfigError, match=f"^{key}: found 'run:.*expected run: and the folder of a run .*{words}"):
        refuse_no_model(path, key)


def test_nothing_behind_run_is_refused():
    with pytest.raises(ConfigError, match="no folder is named"):
        refuse_no_model("run:", "model.path")
