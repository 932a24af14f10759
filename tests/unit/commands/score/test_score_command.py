"""`online-rl score` as people use it: files in, files out, exit codes, and a second start after an interruption."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from online_rl.cli import main
from tests.unit.commands.score.pairs import PAIRS, many, output, score, write


def test_rows_come_in_the_order_of_the_input_with_scores_and_parts(folder, capsys):
    write(PAIRS)
    assert score() == 0
    rows = output()
    assert [row["study_id"] for row in rows] == ["s1", "s1", "s2"]
    assert [row["status"] for row in rows] == ["scored"] * 3
    assert rows[0]["score"] == 1.0 and rows[0]["parts"]["matched_findings"] == 1
    assert rows[1]["score"] == 0.5 and rows[1]["parts"]["wrong_location"] == 1
    assert rows[2]["parts"]["verbosity"] == 2.0
    printed = capsys.readouterr().out
    assert re.search(r"\(c\) wrong location +1 +0\.33 +1 \(33%\)", printed)
    assert "3 pairs, 3 scored, 0 unscorable" in printed
    assert sorted(os.listdir(folder)) == ["pairs.jsonl", "scores.jsonl"]


def test_csv_without_study_ids_scores_alike(folder):
    Path("pairs.csv").write_text(
        'candidate,reference\n"Small left\npleural effusion.",Small left pleural effusion.\nClear lungs.,Clear lungs.\n'
    )
    assert score(source="pairs.csv") == 0
    rows = output()
    assert [row["score"] for row in rows] == [1.0, 1.0] and "study_id" not in rows[0]


def test_lc_before_a_name_is_length_control(folder):
    write([{"reference": "No effusion.", "candidate": "No effusion. Lungs are expanded well."}])
    assert score() == 0 and score("--overwrite", judge="lc_findings") == 0
    [row] = output()
    assert row["parts"]["verbosity"] == 3.0
    assert row["score"] == pytest.approx(row["parts"]["raw"] / 3)
    lc = row["score"]
    assert score("--overwrite", "--length-control", "lc_green") == 0
    assert output()[0]["score"] == lc


def test_two_length_rules_are_refused(folder, capsys):
    write(PAIRS)
    assert score("--length-control", "symmetric", judge="lc_findings") == 2
    assert "--judge findings --length-control symmetric" in capsys.readouterr().err


def test_arguments_reach_the_judge(folder, capsys):
    write([{"reference": "No effusion. Nodule.", "candidate": "No effusion."}])
    assert score("--args", "normal_weight=0.25") == 0
    assert output()[0]["score"] == pytest.approx(0.25 / 1.25)
    assert score("--overwrite", "--args", "normal_wait=0.25") == 2
    assert "normal_wait" in capsys.readouterr().err


def test_a_judge_of_groups_gets_the_neighbouring_rows_of_a_study(folder):
    Path("ranks.py").write_text(
        "def reward(completions, **columns):\n    return [float(len(completions)) for _ in completions]\n"
    )
    write([*PAIRS, PAIRS[0]])  # s1, s1, s2, s1: neighbours only
    assert score(judge="ranks.py:reward") == 0
    assert [row["score"] for row in output()] == [2.0, 2.0, 1.0, 1.0]


def test_what_cannot_be_scored_is_null_and_keeps_its_place(folder, capsys):
    write(
        [PAIRS[0], {"reference": " ___ \n", "candidate": "Clear."}, {"reference": "Hello.", "candidate": "x"}, PAIRS[1]]
    )
    assert score() == 0
    rows = output()
    assert [row["score"] for row in rows] == [1.0, None, None, 0.5]
    assert [row["status"] for row in rows] == ["scored", "unscorable", "unscorable", "scored"]
    assert rows[1]["detail"] == "the reference report is empty"
    assert "4 pairs, 2 scored, 2 unscorable" in capsys.readouterr().out


def test_an_async_judge_is_asked_many_things_at_once(folder):
    Path("server.py").write_text(
        "import asyncio\nnow = 0\nasync def reward(completions, **columns):\n    global now\n    now += 1\n"
        "    await asyncio.sleep(0.1)\n    most, now = now, 0\n    return [float(most)] * len(completions)\n"
    )
    many(60)
    assert score(judge="server.py:reward") == 0
    assert max(row["score"] for row in output()) == 60
    assert score("--overwrite", "scoring.workers=5", judge="server.py:reward") == 0
    assert max(row["score"] for row in output()) == 5


def test_raw_leaves_the_texts_as_they_are(folder):
    Path("upper.py").write_text(
        "class Upper:\n    name = 'upper'\n    def score(self, cases):\n        from judges import Score\n"
        "        return [Score(sum(c.isupper() for c in case.candidate)) for case in cases]\n"
    )
    write([{"reference": "LUNGS", "candidate": "CLEAR Lungs"}])
    assert score(judge="upper.py:Upper") == 0 and output()[0]["score"] == 0.0
    assert score("--overwrite", "--raw", judge="upper.py:Upper") == 0 and output()[0]["score"] == 6.0


def test_a_reward_function_gets_raw_texts_and_the_further_columns_as_in_training(folder):
    Path("lines.py").write_text(
        "def reward(completions, completions_cleaned, reference, indication, site, **columns):\n"
        "    assert (reference, indication, site) == (['CLEAR.'], ['Cough?'], ['A'])\n"
        "    assert completions_cleaned == ['- no edema\\n\\n- clear']\n"
        "    return [(float(text.count('\\n')), {'dashes': text.count('-')}) for text in completions]\n"
    )
    write([{"reference": "CLEAR.", "candidate": "- No edema\n- Clear", "indication": "Cough?", "site": "A"}])
    assert score(judge="lines.py:reward") == 0
    assert (output()[0]["score"], output()[0]["parts"]["dashes"]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"reference": "a"}\n', ["pairs.jsonl:1", "'candidate'", "reference"]),
        ('{"reference": "a", "candidate": "b"}\n\n{"reference": null, "candidate": "b"}\n', [":3", "found null"]),
        ('{"reference": "a"}\n' * 12, [":1: has no column", "candidate=NAME. It is the same in all 12 rows.\nNothing"]),
        ('{"reference": "a", "candidate": 3}\n', [":1", "candidate: found int", "expected text"]),
        ('{"reference": "a", "candidate": "b", "study_id": [1]}\n', [":1", "study_id: found list"]),
        ('{"reference": "a", "candidate": "b"}\n{"reference": "secret', [":2", "malformed JSON"]),
        ("", ["found no rows"]),
    ],
)
def test_bad_rows_are_named_and_nothing_is_scored(folder, capsys, text, words):
    Path("pairs.jsonl").write_text(text)
    assert score() == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words) and "secret" not in error
    assert os.listdir(folder) == ["pairs.jsonl"]


def test_bad_csv_rows_are_named(folder, capsys):
    Path("pairs.csv").write_text("reference,candidate\na,b\na,b,c\n")
    assert score(source="pairs.csv") == 2
    assert "pairs.csv:3: found 3 fields, expected 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "none.jsonl"}, "no such file"),
        ({"judge": "finding"}, "findings"),
        ({"judge": "lc_finding"}, "findings"),
    ],
)
def test_what_is_not_there_ends_with_code_2(folder, capsys, arguments, words):
    write(PAIRS)
    assert score(**arguments) == 2
    assert words in capsys.readouterr().err


def test_odd_texts_survive(folder):
    odd = [
        "🫁 effusion 🙂",
        "half \ud83d character",
        "\u202eright to left\u2028line",
        "",
        "effusion " * 10_000,
        "</p><script>",
    ]
    write(
        [{"study_id": f"s\udc00{i}", "reference": "Small effusion.", "candidate": text} for i, text in enumerate(odd)]
    )
    assert score("--html", "page.html") == 0
    rows = output()
    assert len(rows) == len(odd) and all(row["status"] == "scored" for row in rows)
    assert rows[1]["study_id"] == "s\ufffd1"
    Path("page.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_is_found_before_anything_is_scored(folder, capsys):
    write(PAIRS)
    Path("taken").write_text("a file, not a folder")
    assert score("--html", "taken/page.html") == 2
    assert "taken/page.html: cannot be written" in capsys.readouterr().err
    assert not Path("scores.jsonl").exists() and not Path("scores.jsonl.partial").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--output", "s.jsonl", "--html", "pairs.jsonl"), ("--html", "--input")),
        (("--output", "s.jsonl", "--html", "../{here}/pairs.jsonl", "--overwrite"), ("--html", "--input")),
        (("--output", "same", "--html", "same"), ("--html", "--output")),
        (("--output", "same", "--html", "same.partial"), ("--html", "--output")),
        (("--output", "pairs.jsonl", "--overwrite"), ("--output", "--input")),
        (("--output", "link.jsonl", "--overwrite"), ("--output", "--input")),
        (("--output", "hard.jsonl", "--overwrite"), ("--output", "--input")),
        (("--output", "mine.py", "--judge", "mine.py:reward", "--overwrite"), ("--output", "--judge")),
        (
            ("--output", "table.csv", "--judge", "mine.py:reward", "--args", "table=table.csv", "--overwrite"),
            ("--output", "--args table"),
        ),
    ],
)
def test_what_the_command_reads_is_never_written_over(folder, capsys, options, words):
    write(PAIRS)
    Path("mine.py").write_text("def reward(completions, **columns):\n    return [1.0] * len(completions)\n")
    Path("table.csv").write_text("a,b\n")
    Path("link.jsonl").symlink_to("pairs.jsonl")
    os.link("pairs.jsonl", "hard.jsonl")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    given = [option.format(here=folder.name) for option in options]
    assert main(["score", "--judge", "findings", "--input", "pairs.jsonl", *given]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words) and "Name another" in message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_page_in_the_place_of_another_file_needs_overwrite(folder, capsys):
    write(PAIRS)
    Path("notes.txt").write_text("mine")
    assert score("--html", "notes.txt") == 2
    assert "notes.txt: exists already" in capsys.readouterr().err
    assert Path("notes.txt").read_text() == "mine" and not Path("scores.jsonl").exists()
    assert score("--html", "notes.txt", "--overwrite") == 0


def test_a_length_rule_that_adapts_while_training_is_refused(folder, capsys):
    write(PAIRS)
    assert score("--length-control", "target_band") == 2
    assert "adapts from step to step" in capsys.readouterr().err


def test_only_scoring_keys_are_taken(folder, capsys):
    write(PAIRS)
    assert score("rollout.group_size=4") == 2
    assert "scoring.<key>=value" in capsys.readouterr().err


class Page(HTMLParser):
    """Tags, their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.words = ""
        self._stack: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._stack.append(tag)

    def handle_endtag(self, tag):
        while self._stack and self._stack.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._stack):
            self.words += data


def test_the_page_shows_every_pair_with_its_errors_and_loads_nothing(folder):
    evil = '<img src="http://example.com/x.png" onerror="alert(1)"> Small right pleural effusion.'
    write([*PAIRS, {"study_id": '"><script>', "reference": "Small left pleural effusion.", "candidate": evil}])
    assert score("--html", "report.html") == 0
    text = Path("report.html").read_text()
    page = Page(text)
    assert evil in page.words  # as text, not as a tag
    assert not [tag for tag, _ in page.tags if tag in ("img", "link", "iframe")]
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert not [a for _, a in page.tags if {"src", "onerror"} & set(a) or str(a.get("href", "#"))[0] != "#"]
    assert "default-src 'none'" in text
    articles = [a for tag, a in page.tags if tag == "article"]
    assert [a["data-errors"] for a in articles][:2] == ["", "(c) wrong location"]
    assert all(pair["candidate"] in page.words and pair["reference"] in page.words for pair in PAIRS)


def test_names_of_files_need_not_be_utf_8(folder):
    """As unpacked from an old archive: page, scores and messages are written all the same."""
    write(PAIRS)
    source, page = os.fsdecode(b"befund-\xfcber.jsonl"), os.fsdecode(b"seite-\xe4.html")
    os.rename("pairs.jsonl", source)
    command = [sys.executable, "-m", "online_rl.cli", "score", "--judge", "findings", "--input", source]
    command += ["--output", os.fsdecode(b"aus-\xfc.jsonl"), "--html", page]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    )
    assert done.returncode == 0, done.stderr
    assert "befund-\ufffdber.jsonl" in Path(page).read_text(encoding="utf-8")
    assert len(Path(os.fsdecode(b"aus-\xfc.jsonl")).read_text().splitlines()) == 3


def test_a_table_of_another_dialect_with_other_names_and_pandas_cells(tmp_path, capsys):
    """Semicolons, names of the user's own, ids as floats, and a reference that is missing."""
    source, output = tmp_path / "pairs.csv.gz", tmp_path / "scores.jsonl"
    text = "Study_ID;gt;pred\n7.0;Kein Erguss. No effusion.;No effusion.\nnan;NaN;Clear.\n"
    source.write_bytes(gzip.compress(text.encode("cp1252")))
    base = ["score", "--judge", "findings", "--input", str(source), "--output", str(output), "--encoding", "cp1252"]
    assert main([*base, "--columns", "reference=gt"]) == 2
    assert "has no column 'candidate'; found pred, reference, study_id" in capsys.readouterr().err
    assert main([*base, "--columns", "reference=gt", "--columns", "candidate=pred"]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row.get("study_id"), row["status"]) for row in rows] == [("7", "scored"), (None, "unscorable")]


@pytest.mark.parametrize(
    ("cells", "message"),
    [("Clear.,nan", "pairs.csv:2: candidate: found 'nan', which stands for a missing cell"), ("x,y,z", "3 fields")],
)
def test_a_missing_candidate_is_no_report(tmp_path, capsys, cells, message):
    (tmp_path / "pairs.csv").write_text(f"reference,candidate\n{cells}\n")
    out = str(tmp_path / "s.jsonl")
    assert main(["score", "--judge", "findings", "--input", str(tmp_path / "pairs.csv"), "--output", out]) == 2
    assert message in capsys.readouterr().err
