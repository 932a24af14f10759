"""A tokenizer of GREEN's class, a stub server that serves its folder as a model, and a judge in front of it."""

from __future__ import annotations

import json

import pytest

from judges.green.judge import GreenJudge
from tests.unit.judges.green.stub_server import Stub, serving


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Folder with the tokenizer files of a small GREEN-like checkpoint; the judge needs no more of it."""
    from judges.green.shapes import save_tokenizer

    folder = tmp_path_factory.mktemp("green")
    save_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return folder


@pytest.fixture
def stub(checkpoint):
    with serving(Stub(str(checkpoint))) as stub:
        yield stub


@pytest.fixture
def make_judge(checkpoint, tmp_path):
    made = []

    def make(*urls: str, **args) -> GreenJudge:
        settings = {"model": str(checkpoint), "cache_dir": str(tmp_path / "cache"), "timeout_s": 5.0, **args}
        judge = GreenJudge(urls=urls, **settings)
        made.append(judge)
        return judge

    yield make
    for judge in made:
        judge.close()
