"""configs/recipes/: the rewards of published works, worked out by hand with stand-ins for their metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from judges import load_judge
from judges.base import Case, Score
from judges.rubric.rubric import UnreadableAnswer, load_rubric
from online_rl.cli import main
from online_rl.config import load_config
from online_rl.scoring.setup import make_blend

RECIPES = Path(__file__).resolve().parents[3] / "configs" / "recipes"
CASE = Case("s1", "no effusion", "no effusion")


class StandIn:
    def __init__(self, name: str, value: float) -> None:
        self.name, self.value = name, value

    def score(self, cases):
        return [Score(self.value)] * len(cases)


@pytest.mark.parametrize(
    ("recipe", "metrics", "expected"),
    [
        # 0.370 x 0.8 + 0.253 x 0.6 + 0.377 x 0.4
        ("unirg_step1", {"bertscore": 0.8, "sembscore": 0.6, "radgraph": 0.4}, 0.5986),
        # the same, and 0.5 / (3 + 1)
        ("unirg_step2", {"bertscore": 0.8, "sembscore": 0.6, "radgraph": 0.4, "errors": 1 / 4}, 0.7236),
        ("radvlm_grpo", {"radcliq": 1.2}, -1.2),
        ("editgrpo", {"radgraph": 0.3, "chexbert": 0.9, "ratescore": 0.5}, 1.7),
        ("chexalign_online_dpo", {"green": 0.6}, 0.6),
    ],
)
def test_the_reward_is_the_published_formula(recipe, metrics, expected):
    cfg = load_config(RECIPES / f"{recipe}.yaml")
    scores = {}
    for entry in cfg.judges:
        judge = load_judge(StandIn(entry.label, metrics[entry.label]), transform=entry.transform)
        scores[entry.label] = judge.score([CASE])[0]
    assert make_blend(cfg).reward(scores) == pytest.approx(expected, abs=1e-9)
    assert set(metrics) == {entry.label for entry in cfg.judges}


def test_the_rubric_of_unirg_counts_errors():
    rubric = load_rubric(str(RECIPES / "unirg_errors.yaml"))
    assert rubric.score('{"errors": 3}').value == 1 / 4 and rubric.score('{"errors": 0}').value == 1.0
    assert rubric.empty.value == pytest.approx(1 / 31)
    with pytest.raises(UnreadableAnswer):
        rubric.score('{"errors": -1}')


def test_the_numbers_are_the_published_ones():
    step1, step2, radvlm, edit = (
        load_config(RECIPES / f"{name}.yaml") for name in ("unirg_step1", "unirg_step2", "radvlm_grpo", "editgrpo")
    )
    for cfg, kl in ((step1, 0.0), (step2, 0.03)):
        assert cfg.rollout.group_size * cfg.rollout.studies_per_step == 256
        assert cfg.train.learning_rate == 5e-6 and cfg.algorithm.grpo.kl_coef == kl
    assert step2.model.path == f"{step1.run.dir}/model", "its KL is to the first step's policy"
    assert (radvlm.rollout.group_size, radvlm.rollout.studies_per_step) == (8, 512)
    assert radvlm.rollout.studies_per_step / radvlm.train.updates_per_step == 128
    assert (radvlm.algorithm.grpo.clip_low, radvlm.algorithm.grpo.clip_high) == (0.2, 0.28)
    assert (edit.rollout.group_size, edit.rollout.studies_per_step) == (5, 32)
    assert edit.model.freeze_vision and edit.data.max_images == 6


@pytest.mark.parametrize(
    "path", sorted(set(RECIPES.glob("*.yaml")) - {RECIPES / "unirg_errors.yaml"}), ids=lambda path: path.stem
)
def test_every_recipe_passes_the_rules(path, capsys):
    assert main(["config", "check", "--elsewhere", str(path)]) == 0, capsys.readouterr().err
