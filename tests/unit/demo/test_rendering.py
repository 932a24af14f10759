"""The pictures of the demo world show what the labels say, where they say it, also at the tiny policy's 112 pixels."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from online_rl.demo.anatomy import CENTRE, IMAGE_CENTRE, MIDLINE, ZOOM, Body, diaphragm
from online_rl.demo.gallery import STUDIES, draw_gallery
from online_rl.demo.pathology import GRADES, SIDES, SIZES, Finding
from online_rl.demo.rendering import render


def body(number: int, view: str = "PA") -> Body:
    """An upright body without tilt, so that zones of the image are where the chest's are."""
    drawn = Body.draw(np.random.default_rng([number, 0]), np.random.default_rng([number, 1]), view)
    return replace(drawn, tilt=0.0, turn=0.0)


def zone(film: np.ndarray, patient: Body, side: str, out: tuple[float, float], y: tuple[float, float]) -> np.ndarray:
    """The part of the film between two distances from the midline on a side and two heights, chest coordinates."""
    sign = 1 if side == "left" else -1
    corners = patient.place(np.array([(MIDLINE + sign * out[0], y[0]), (MIDLINE + sign * out[1], y[1])]))
    (x0, x1), (y0, y1) = sorted(corners[:, 0]), sorted(corners[:, 1])
    return film[max(0, round(y0)) : round(y1), max(0, round(x0)) : round(x1)].astype(float)


LOWER, UPPER, MID = (38, 84), (30, 72), (38, 80)
HEIGHT = {"upper": (50, 82), "mid": (98, 126), "lower": (145, 172)}


def lung_zone(film: np.ndarray, patient: Body, side: str, name: str) -> np.ndarray:
    return zone(film, patient, side, {"upper": UPPER, "mid": MID, "lower": LOWER}[name], HEIGHT[name])


def test_place_and_grid_are_inverse():
    tilted = replace(body(1), tilt=0.03)
    x, y = tilted.grid()
    pixel = tilted.place(np.array([[x[200, 40], y[200, 40]]]))[0]
    assert pixel == pytest.approx([40, 200], abs=1e-2)
    assert tilted.place(CENTRE[None])[0] == pytest.approx(IMAGE_CENTRE)
    assert ZOOM > 1


@pytest.mark.parametrize("side", SIDES)
def test_effusion_whitens_the_base_of_its_side_and_grows(side):
    patient, other = body(2), "right" if side == "left" else "left"
    films = [render(patient, ())] + [render(patient, (Finding("effusion", side, severity=size),)) for size in SIZES]
    dome = diaphragm(patient, side)
    angle = [zone(film, patient, side, (76, 90), (dome + 2, dome + 14)).mean() for film in films]
    assert angle[1] > angle[0] + 60
    lower = [lung_zone(film, patient, side, "lower").mean() for film in films]
    assert lower[2] > lower[0] + 60 and lower[3] > lower[0] + 60
    mid = [lung_zone(film, patient, side, "mid").mean() for film in films]
    assert mid[3] > mid[2] + 40
    spared = [lung_zone(film, patient, other, "lower").mean() for film in films]
    assert max(spared) - min(spared) < 3


def test_the_left_of_the_patient_is_on_the_right_of_the_image():
    patient = body(3)
    change = render(patient, (Finding("effusion", "left", severity="large"),)).astype(float) - render(patient, ())
    assert change[:, 140:].mean() > 20
    assert abs(change[:, :116].mean()) < 1


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("number", range(3))
def test_pneumothorax_is_darker_and_has_no_markings(side, number):
    patient = replace(body(number), noise=1)
    healthy = render(patient, ())
    films = [render(patient, (Finding("pneumothorax", side, severity=size),)) for size in SIZES]
    apex = [zone(film, patient, side, (34, 52), (36, 50)).mean() for film in (healthy, *films)]
    assert all(dark < apex[0] - 4 for dark in apex[1:])
    # Vessels are the fine structure that differs between two patients with the same ribs.
    strangers = replace(patient, texture=patient.texture + 1)
    with_vessels = np.abs(
        lung_zone(healthy, patient, side, "upper") - lung_zone(render(strangers, ()), patient, side, "upper")
    )
    collapsed = (Finding("pneumothorax", side, severity="large"),)
    rims = [zone(render(who, collapsed), patient, side, (48, 64), (56, 90)) for who in (patient, strangers)]
    assert np.abs(rims[0] - rims[1]).mean() < 0.15 * with_vessels.mean()
    areas = [((film.astype(float) - healthy) < -6).sum() for film in films]
    assert areas[0] < areas[1] < areas[2]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("where", ["upper", "mid", "lower"])
def test_consolidation_is_brightest_in_its_own_zone(side, where):
    patient = body(4)
    healthy = render(patient, ()).astype(float)
    for severity in GRADES:
        change = render(patient, (Finding("consolidation", side, where, severity),)) - healthy
        means = {(s, z): lung_zone(change, patient, s, z).mean() for s in SIDES for z in HEIGHT}
        assert max(means, key=means.__getitem__) == (side, where)
        assert means[side, where] > 12


def test_severity_shows_in_brightness():
    patient = body(5)
    healthy = render(patient, ()).astype(float)
    for name, side, where in (("consolidation", "left", "mid"), ("edema", None, None)):
        added = [(render(patient, (Finding(name, side, where, grade),)) - healthy).mean() for grade in GRADES]
        assert 0.5 < added[0] < added[1] - 0.5 < added[2] - 1.5, name


def test_edema_is_on_both_sides_and_central():
    patient = body(6)
    change = render(patient, (Finding("edema", severity="moderate"),)) - render(patient, ()).astype(float)
    for side in SIDES:
        assert zone(change, patient, side, (32, 56), (105, 140)).mean() > 30
        assert zone(change, patient, side, (34, 56), (40, 52)).mean() < 8


def heart_width(film: np.ndarray, patient: Body) -> float:
    """Cardiothoracic ratio as a reader measures it: the widest white band across the middle of the chest."""
    y = round(float(patient.place(np.array([[MIDLINE, 150.0]]))[0, 1]))
    rows = film[y - 4 : y + 16].astype(float)
    white = (rows > 140)[:, 20:236]
    widths = []
    for row in white:
        left = right = 107
        while left > 0 and row[left]:
            left -= 1
        while right < len(row) - 1 and row[right]:
            right += 1
        widths.append(right - left)
    return max(widths) / (2 * 94 * ZOOM * patient.width)


@pytest.mark.parametrize("number", range(4))
def test_the_heart_grows_with_severity(number):
    patient = replace(body(number), exposure=0.0)
    ratios = [heart_width(render(patient, ()), patient)]
    ratios += [heart_width(render(patient, (Finding("cardiomegaly", severity=grade),)), patient) for grade in GRADES]
    assert ratios[0] < 0.5 < ratios[1]
    assert all(wider > narrower + 0.04 for narrower, wider in zip(ratios, ratios[1:], strict=False))


@pytest.mark.parametrize(
    "finding",
    [
        Finding("effusion", "left", severity="small"),
        Finding("pneumothorax", "right", severity="small"),
        Finding("consolidation", "left", "lower", "mild"),
        Finding("edema", severity="mild"),
        Finding("cardiomegaly", severity="mild"),
        Finding("atelectasis", "right", "lower"),
        Finding("nodule", "left", "mid", size_mm=12),
        Finding("endotracheal_tube"),
        Finding("central_line", "right"),
        Finding("central_line", "left"),
        Finding("pacemaker", "left"),
        Finding("sternotomy_wires"),
        Finding("nasogastric_tube"),
    ],
    ids=lambda finding: f"{finding.name}-{finding.side}",
)
def test_the_mildest_form_is_still_visible_at_112_pixels(finding):
    patient = body(8)

    def small(findings: tuple[Finding, ...]) -> np.ndarray:
        film = Image.fromarray(render(patient, findings)).resize((112, 112), Image.Resampling.BILINEAR)
        return np.asarray(film, float)

    change = np.abs(small((finding,)) - small(()))
    assert (change > 15).sum() >= 12, "fewer than twelve of 112 x 112 pixels change clearly"


def test_devices_lie_on_their_side():
    patient = body(9)
    healthy = render(patient, ()).astype(float)
    for name, out, height in (("central_line", (14, 96), (14, 40)), ("pacemaker", (50, 96), (56, 80))):
        for side in SIDES:
            change = render(patient, (Finding(name, side),)) - healthy
            there, elsewhere = (
                zone(change, patient, s, out, height).mean() for s in (side, "left" if side == "right" else "right")
            )
            assert there > 2 and abs(elsewhere) < 0.2, (name, side)


def test_film_is_deterministic_and_uses_the_grey_scale():
    patient = body(10)
    film = render(patient, ())
    assert film.dtype == np.uint8 and film.shape == (256, 256)
    assert (film == render(patient, ())).all()
    dark, bright = np.percentile(film, [3, 97])
    assert dark < 60 and bright > 180


def test_gallery(tmp_path):
    sheet = draw_gallery(tmp_path / "sheet.png")
    with Image.open(sheet) as image:
        assert 1200 <= image.width <= 1600
    assert sheet.stat().st_size < 900_000
    assert len(STUDIES) == 12
