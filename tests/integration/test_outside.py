"""The algorithm of docs/algorithms.md and the reader of docs/data.md, as a user would write them, in one launch."""

from __future__ import annotations

import math
import re
import shutil

import pytest

from tests.integration.launch import ROOT, Finished, records, train


def documented(page: str, file: str) -> str:
    [text] = re.findall(rf"^```python\n(# {file}\n.*?)^```$", (ROOT / "docs" / page).read_text(), re.M | re.S)
    return text


@pytest.fixture(scope="session")
def own(work, small, world, world_rows, judges) -> Finished:
    """Two steps; the demo's studies lie in the layout that the documented reader reads."""
    folder = work / "own"
    folder.mkdir()
    (folder / "my_loss.py").write_text(documented("algorithms.md", "my_loss.py"))
    (folder / "my_reader.py").write_text(documented("data.md", "my_reader.py"))
    for row in world_rows:
        patient = folder / "exams" / row["patient_id"]
        patient.mkdir(parents=True, exist_ok=True)
        (patient / f"{row['study_id']}.txt").write_text(row["findings"])
        image = world / row["image_paths"][0]
        shutil.copy(image, patient / f"{row['study_id']}-1{image.suffix}")
    settings = [
        *small,
        judges,
        "train.max_steps=2",
        "train.passes=2",
        f"algorithm.name={folder / 'my_loss.py'}:SoftGate",
        "algorithm.args={down: 1.2}",
        f"data.reader={folder / 'my_reader.py'}:read",
        f"data.path={folder / 'exams'}",
        "data.eval_fraction=0.3",
    ]
    return train(folder / "log", *settings, f"run.dir={folder / 'run'}", ranks=1).ok()


def test_both_train_two_steps(own):
    lines = records(own.run_dir)
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        assert math.isfinite(line["loss"]) and line["grad_norm"] > 0


def test_the_run_says_what_it_was_made_of(own):
    resolved = (own.run_dir / "config.resolved.yaml").read_text()
    assert "my_loss.py:SoftGate" in resolved and "my_reader.py:read" in resolved


def test_a_broken_one_ends_before_a_model_is_loaded(own, work, small):
    path = work / "own" / "broken.py"
    path.write_text(
        "from online_rl.algorithms import GRPO\n\nclass Mine(GRPO):\n    def teaches(self):\n        pass\n"
    )
    run = train(work / "broken", *small, f"algorithm.name={path}:Mine", f"run.dir={work / 'broken.run'}", ranks=1)
    run.refused("algorithm.name", "raised TypeError", "Correct it")
    assert not (work / "broken.run").exists()
