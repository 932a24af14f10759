"""One key chooses the algorithm: what is not set follows the paper that it names, what is set stays."""

from __future__ import annotations

import pytest

from online_rl.config import config_from_dict, load_config, save_resolved
from online_rl.config.algorithm import GRPO_FAMILY, PREFERENCE_FAMILY


@pytest.mark.parametrize(
    ("name", "clip", "loss_type", "advantage"),
    [
        ("grpo", (0.2, 0.2), "grpo", "group"),
        ("dr_grpo", (0.2, 0.2), "dr_grpo", "group_no_std"),
        ("dapo", (0.2, 0.28), "dapo", "group"),
        ("gspo", (3e-4, 4e-4), "grpo", "group"),
        ("cispo", (1.0, 4.0), "dapo", "group"),
        ("gmpo", (0.3297, 0.4918), "grpo", "group"),
    ],
)
def test_the_name_alone_is_a_full_choice(name, clip, loss_type, advantage):
    options = config_from_dict({"algorithm": {"name": name}}).algorithm.grpo
    assert ((options.clip_low, options.clip_high), options.loss_type, options.advantage) == (clip, loss_type, advantage)


def test_null_means_not_set_and_what_is_set_stays():
    algorithm = {"name": "dapo", "grpo": {"clip_high": None, "loss_type": "dr_grpo"}, "preference": {"beta": None}}
    cfg = config_from_dict({"algorithm": algorithm})
    assert (cfg.algorithm.grpo.clip_high, cfg.algorithm.grpo.loss_type, cfg.algorithm.preference.beta) == (
        0.28,
        "dr_grpo",
        0.1,
    )
    assert config_from_dict({"algorithm": {"name": "online_simpo", "preference": None}}).algorithm.preference.beta == 2


def test_the_resolved_copy_holds_what_the_name_meant(tmp_path):
    cfg = config_from_dict({"algorithm": {"name": "gspo"}})
    path = save_resolved(cfg, tmp_path)
    assert "clip_low: 0.0003" in path.read_text()
    assert load_config(path) == cfg


def test_an_override_of_the_name_carries_its_values_along(root):
    cfg = load_config(root / "configs" / "demo_grpo.yaml", ["algorithm.name=dapo", "algorithm.grpo.loss_type=dr_grpo"])
    assert (cfg.algorithm.grpo.clip_high, cfg.algorithm.grpo.loss_type) == (0.28, "dr_grpo"), "null follows, set stays"


def test_every_algorithm_has_a_recipe_that_says_what_it_is_for(root):
    recipes = {path.stem: path for path in (root / "configs" / "algorithms").glob("*.yaml")}
    assert set(recipes) == {*GRPO_FAMILY, *PREFERENCE_FAMILY}
    for name, path in recipes.items():
        cfg = load_config(path)
        for ranks in (1, 2):
            cfg.check_world(ranks)
        assert cfg.algorithm.name == name and cfg.warnings() == []
        assert f"configs/algorithms/{name}.yaml" in path.read_text()
