"""Lessons show the policy what its processor will show it, and point to where each finding is."""

import numpy as np
import pytest
from PIL import Image

from online_rl.demo.lessons import NAMES, draw_lesson, draw_lessons, shrink
from online_rl.demo.pathology import Finding
from online_rl.demo.rendering import render
from online_rl.demo.world import Plan, draw_body, plan_patients


def lesson(*findings):
    film, places = draw_lesson(Plan({}, draw_body("PA", 3, (5,), 0), tuple(findings)))
    return film, places.reshape(8, 8, len(NAMES))


def test_films_are_what_the_processor_makes(demo_processor):
    plan = plan_patients(1, seed=2)[0]
    film = render(plan.body, plan.findings)
    images = demo_processor.image_processor(images=[[Image.fromarray(film).convert("RGB")]], return_tensors="np")
    theirs = images["pixel_values"][0, 0]  # (3, side, side), -1 to 1
    ours = draw_lesson(plan)[0] / 127.5 - 1
    assert np.abs(theirs - ours).max() < 1e-5
    assert shrink(film).shape == (112, 112)


@pytest.mark.parametrize(
    "finding, rows, columns",
    [
        (Finding("effusion", "left", severity="small"), (4, 8), (4, 8)),
        (Finding("pneumothorax", "right", severity="small"), (0, 8), (0, 4)),
        (Finding("nodule", "right", "upper", size_mm=24), (0, 4), (0, 4)),
        (Finding("pacemaker", "left"), (0, 7), (2, 8)),
        (Finding("endotracheal_tube"), (0, 4), (3, 5)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_map_points_to_the_finding_alone(finding, rows, columns):
    _, places = lesson(finding)
    shown = places[:, :, NAMES.index(finding.name)]
    assert shown.max() > 60
    outside = shown.copy()
    outside[slice(*rows), slice(*columns)] = 0
    assert outside.max() < 15
    assert places.sum() == shown.sum()


def test_a_map_does_not_depend_on_what_else_is_there():
    nodule, effusion = Finding("nodule", "right", "upper", size_mm=24), Finding("effusion", "left", severity="large")
    _, both = lesson(effusion, nodule)
    for finding in (nodule, effusion):
        column = NAMES.index(finding.name)
        assert (both[:, :, column] == lesson(finding)[1][:, :, column]).all()


def test_a_normal_film_has_an_empty_map():
    assert lesson()[1].sum() == 0


def test_the_number_of_processes_changes_nothing():
    plans = plan_patients(20, seed=1)
    one, two = draw_lessons(plans, 1), draw_lessons(plans, 2)
    assert (one[0] == two[0]).all() and (one[1] == two[1]).all()
