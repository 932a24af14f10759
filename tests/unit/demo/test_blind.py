"""What an indication gives away, and the image that shows nothing."""

from dataclasses import replace

import numpy as np
import pytest

from online_rl.data.images import load_image
from online_rl.demo import blind
from online_rl.demo.blind import BLANK_GREY, IndicationTable, with_blank_image
from online_rl.demo.world import plan_patients
from online_rl.truth.counts import Claims, pooled
from online_rl.truth.labels import label_names


@pytest.fixture(scope="module")
def studies(request):
    from online_rl.data.study import Study

    return [
        Study(
            plan.row["study_id"],
            plan.row["patient_id"],
            ("a.png",),
            plan.row["indication"],
            plan.row["findings"],
            plan.row["split"],
            columns={"labels": plan.row["labels"]},
        )
        for plan in plan_patients(1500, seed=0)
    ]


def test_it_learns_what_an_indication_gives_away(make_study):
    def study(indication, *names):
        return replace(make_study(), indication=indication, columns={"labels": [{"name": name} for name in names]})

    training = [study("Cough.")] * 30 + [study("Leg swelling.", "effusion")] * 10 + [study("Intubated.", "edema")] * 10
    table = IndicationTable.learn(training)
    assert table("81 year old with leg swelling.") == {"effusion"}
    assert table("INTUBATED") == {"edema"}
    assert table("Cough for 3 days.") == table("") == table("Unheard of.") == frozenset()


def test_the_worlds_indications_give_little_away(studies):
    train = [study for study in studies if study.split == "train"]
    held_out = [study for study in studies if study.split == "eval"]
    table = IndicationTable.learn(train)
    guessed = pooled([Claims(table(study.indication), label_names(study.columns)) for study in held_out])
    assert 0.1 < guessed["f1"] < 0.35
    again = IndicationTable.learn(train)
    assert again.weights.equal(table.weights) and again.threshold == table.threshold


def test_the_threshold_gives_the_best_f1():
    import torch

    chance = torch.tensor([[0.9, 0.6], [0.5, 0.2]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # F1 of the first 1, 2, 3, 4 called present: 2/3, 2/4, 4/5, 4/6
    assert blind._best_threshold(chance, labels) == pytest.approx(0.35)


def test_a_blank_image_is_one_grey_in_place_of_each(make_study):
    study = with_blank_image(make_study(images=("a.png", "b.png")))
    assert len(study.images) == 2 and study.indication == "cough"
    for image in study.images:
        assert (np.unique(np.asarray(load_image(image, 1024))) == [BLANK_GREY]).all()
