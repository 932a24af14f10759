"""Line ends that end a statement, and line ends inside a sentence."""

from __future__ import annotations

import textwrap

import pytest

from judges.layout import statement_lines, without_marker


@pytest.mark.parametrize(
    "text",
    [
        "- No effusion\n- Cardiomegaly",
        "* No effusion\n* Cardiomegaly",
        "1. No effusion\n2. Cardiomegaly",
        "(1) no effusion\n(2) cardiomegaly",
        "a) no effusion\nb) cardiomegaly",
        "LUNGS: clear\nHEART: enlarged",
        "lungs:\nclear",
        "| effusion | none |\n| edema | mild |",
        "effusion\tnone\nedema\tmild",
        "No effusion\nCardiomegaly",
        "no effusion\ncardiomegaly",
        "NO EFFUSION\nCARDIOMEGALY",
        "No effusion\n\ncardiomegaly",
        "No effusion\r\nCardiomegaly",
    ],
)
def test_line_ends_that_end_a_statement(text):
    assert len(statement_lines(text)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "There is no pleural\neffusion.",
        "there is no focal consolidation, effusion or\npneumothorax",
        "THERE IS NO FOCAL CONSOLIDATION OR EFFUSION, AND THE HEART IS\nENLARGED.",
        "No evidence of pneumonia or\nCHF.",
        "- The heart is enlarged, and the aorta is\n  tortuous",
        "No\neffusion\nis\nseen.",
        "There is a nodule of\n12 mm.",
    ],
)
def test_line_ends_inside_a_sentence(text):
    assert len(statement_lines(text)) == 1


@pytest.mark.parametrize("width", [40, 55, 70, 80])
@pytest.mark.parametrize("change", [str, str.lower, str.upper])
def test_a_wrapped_paragraph_is_one_line_whatever_its_width(width, change):
    text = change(
        "The cardiac silhouette is enlarged. There is no focal consolidation, pleural effusion or pneumothorax. "
        "A 9 mm nodule projects over the left upper lobe, and the aorta is tortuous. No acute fracture is seen."
    )
    assert statement_lines("\n".join(textwrap.wrap(text, width))) == [text]


@pytest.mark.parametrize("text", ["- - 1. No effusion", "(2) No effusion", "• No effusion", "## No effusion"])
def test_markers_come_off(text):
    assert without_marker(text) == "No effusion"


@pytest.mark.parametrize("text", ["1.5 cm nodule", "No effusion", "12 mm nodule", "L1 fracture", "PA view."])
def test_what_is_no_marker_stays(text):
    assert statement_lines(f"Cardiomegaly and a\n{text}") == [f"Cardiomegaly and a {text}"]
