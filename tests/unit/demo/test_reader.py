"""The second reader inverts the demo's phrases, and counts what it does not know instead of guessing."""

import itertools
import re

import pytest

from online_rl.demo import phrases
from online_rl.demo.pathology import SIDES, ZONES, Finding, scale_of
from online_rl.demo.reader import read_finding, read_report
from online_rl.demo.world import plan_patients


def filled(key, phrase):
    """Every finding that the phrase can state, with the sentence that states it."""
    name, _, fixed = key.partition("/")
    slots = {slot.lower() for slot in re.findall(r"{(\w+)}", phrase)}
    severities = scale_of(name) if slots & {"sev", "sevly"} else (None,)
    sides = (fixed,) if fixed else SIDES if slots & {"side", "place"} else (None,)
    zones = ZONES if slots & {"zone", "place"} else ("lower",) if name == "atelectasis" else (None,)
    sizes = (18, 30) if "mm" in slots else (None,)
    for severity, side, zone, mm in itertools.product(severities, sides, zones, sizes):
        places = phrases.PLACES[zone] if "place" in slots else ("",)
        textures = phrases.TEXTURE[severity] if "texture" in slots else ("",)
        for place, texture in itertools.product(places, textures):
            words = {"sev": severity, "side": side, "zone": zone, "mm": mm, "texture": texture}
            words |= {"Sev": str(severity).capitalize(), "Side": str(side).capitalize()}
            words |= {"sevly": phrases.ADVERB.get(severity), "place": place.format(side=side)}
            yield Finding(name, side, zone, severity, mm), phrase.format(**words)


@pytest.mark.parametrize("key", phrases.POSITIVE)
def test_it_inverts_every_phrase(key):
    for phrase in phrases.POSITIVE[key]:
        for finding, sentence in filled(key, phrase):
            assert read_finding(sentence) == finding, sentence


@pytest.mark.parametrize("sentence", phrases.NORMAL)
def test_a_normal_statement_is_known_and_states_nothing(sentence):
    reading = read_report(f"{sentence}.")
    assert (reading.present, reading.unknown, reading.comparisons) == (frozenset(), (), 0)


def test_it_reads_the_worlds_reports_back_to_their_labels():
    for plan in plan_patients(800, seed=11):
        reading = read_report(plan.row["findings"])
        assert reading.unknown == ()
        assert sorted(map(str, reading.findings)) == sorted(map(str, plan.findings)), plan.row["study_id"]


def test_comparisons_are_counted_apart():
    reading = read_report(f"The lungs are clear. {phrases.COMPARISONS[0]} {phrases.COMPARISONS[1]}")
    assert (reading.comparisons, reading.sentences, reading.unknown) == (2, 3, ())


@pytest.mark.parametrize(
    "sentence",
    [
        "There is a large hiatal hernia.",
        "Blunting of the left costophrenic angle by a small right effusion.",  # contradicts itself
        "There is a small pleural effusion.",  # without its side
        "There is a small left pleural effusion in the",  # cut off
        "No pleural effusion and there is a small left pleural effusion.",
    ],
)
def test_what_the_demos_radiologist_would_not_write_is_unknown(sentence):
    reading = read_report(f"The lungs are clear. {sentence}")
    assert reading.unknown == (sentence,) and reading.present == frozenset()


def test_the_first_statement_counts_if_a_finding_is_stated_twice():
    reading = read_report("Small left pleural effusion. Large right pleural effusion. Mild cardiomegaly.")
    assert reading.findings == (
        Finding("effusion", "left", severity="small"),
        Finding("cardiomegaly", severity="mild"),
    )


def test_an_empty_report_says_nothing():
    assert read_report("") == read_report("  \n")
    assert (read_report("").sentences, read_report("").present) == (0, frozenset())
