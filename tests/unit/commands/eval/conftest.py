"""A small data set with a policy's folder, and the worker of `online-rl eval` run in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from online_rl.commands.eval import worker
from online_rl.commands.eval.source import Policy
from online_rl.config import config_from_dict
from tests.unit.commands.eval.writing import REFERENCE


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with six held-out studies of three patients, a policy's config.json, and a configuration."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("x.png")
    rows = [{"split": "train", "study_id": "t", "patient_id": "t"}]
    rows += [{"split": "eval", "study_id": f"s{i}", "patient_id": f"secret{i // 2}"} for i in range(6)]
    common = {"image_paths": ["x.png"], "findings": REFERENCE, "indication": "cough"}
    Path("studies.jsonl").write_text("".join(json.dumps(row | common) + "\n" for row in rows))
    Path("policy").mkdir()
    Path("policy/config.json").write_text("{}")
    Path("mine.yaml").write_text("data: {reader: jsonl, path: studies.jsonl}\nmonitor: {tensorboard: false}\n")
    return tmp_path


@pytest.fixture
def evaluate(folder, monkeypatch, capsys):
    """Run the worker here, with `writes` in the place of vLLM; returns what it said."""

    def evaluate(
        writes,
        into="out/policy",
        studies=None,
        reports=False,
        overwrite=False,
        image_check=False,
        part=None,
        **sections,
    ) -> str:
        data = {"data": {"reader": "jsonl", "path": "studies.jsonl"}, **sections}
        config = config_from_dict(data).model_dump(mode="json")
        policy = Policy("policy", "policy", "policy").as_dict()
        monkeypatch.setattr(worker, "make_writer", lambda *_: writes)
        capsys.readouterr()
        worker.evaluate(worker.Task(config, policy, into, "eval", studies, reports, overwrite, image_check, part))
        return capsys.readouterr().err

    return evaluate
