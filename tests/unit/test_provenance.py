"""A resume meets the judge code, the data and the prompt that the checkpoint was trained with, or says what differs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from online_rl.config import config_from_dict
from online_rl.data.study import Study
from online_rl.errors import CheckpointError, ConfigError
from online_rl.provenance import take_provenance, the_same_on_all_ranks
from online_rl.same_run import refuse_another_run
from online_rl.scoring.setup import load_judges

REWARD = "from {helper} import worth\n\ndef reward(completions):\n    return [worth for _ in completions]\n"


class Run:
    """A run with a reward file of its own, and the state of its checkpoint as it comes back from disk."""

    def __init__(self, folder, monkeypatch, name) -> None:
        self.folder, self.helper = folder, f"helper_{name}"
        monkeypatch.syspath_prepend(folder)
        (folder / "mine.py").write_text(REWARD.format(helper=self.helper))
        (folder / f"{self.helper}.py").write_text("worth = 1.0\n")
        self.train = [self.study(n) for n in range(4)]
        self.eval = [self.study(n) for n in range(10, 13)]
        self.prompt = "USER: {indication}"
        self.config = {"judges": [{"use": f"{folder}/mine.py:reward", "name": "mine"}], "guards": [{"use": "findings"}]}
        self.warnings: list[str] = []
        state = {"world_size": 1, "config": self.cfg().model_dump(mode="json"), **self.now().state_dict()}
        self.state = json.loads(json.dumps(state))

    @staticmethod
    def study(number: int) -> Study:
        images = (f"/data/images/{number}.png",)
        return Study(f"s{number}", f"p{number}", images, "cough", f"no effusion {number}", columns={"age": number})

    def cfg(self, **more):
        return config_from_dict(self.config | more)

    def now(self):
        judges, guards = load_judges(self.cfg())
        loaded = [*(judge for judge, _ in judges), *guards]
        return take_provenance(self.cfg(), loaded, self.train, self.eval, lambda text, n: (self.prompt + text, [n]))

    def resume(self, **more) -> None:
        refuse_another_run(self.folder / "step-5", self.state, self.cfg(**more), self.warnings.append, self.now())

    def refused(self) -> str:
        with pytest.raises(CheckpointError) as caught:
            self.resume()
        return str(caught.value)


@pytest.fixture
def run(tmp_path, monkeypatch, request) -> Run:
    return Run(tmp_path, monkeypatch, str(abs(hash(request.node.name))))


def test_the_same_run_continues_without_a_word(run):
    run.resume()
    assert run.warnings == []


def test_an_edited_reward_file_is_refused_by_name_with_both_hashes(run):
    before = run.state["provenance"]["judges"]["mine"]["mine.py"]
    (run.folder / "mine.py").write_text(REWARD.format(helper=run.helper) + "# edited\n")
    after = run.now().judges["mine"]["mine.py"]
    message = run.refused()
    assert message.startswith(f"judge 'mine': its code differs: mine.py ({before[:12]}, {after[:12]}), in ")
    assert "step-5 and now" in message and "resume_allow=[judges]" in message and "another run.dir" in message


def test_a_module_that_the_reward_imports_from_beside_it_counts(run):
    (run.folder / f"{run.helper}.py").write_text("worth = 2.0\n")
    message = run.refused()
    assert f"{run.helper}.py (" in message and "mine.py" not in message.replace(f"{run.helper}.py", "")


def test_a_module_that_is_new_to_the_reward_is_absent_before(run):
    (run.folder / "more.py").write_text("")
    (run.folder / f"{run.helper}.py").write_text("import more\nworth = 1.0\n")
    assert "more.py (absent, e3b0c44298fc)" in run.refused(), "SHA-256 of nothing"


CHANGES = {
    "ids": {"study_id": "s99"},
    "references": {"reference": "no effusion."},
    "indications": {"indication": "fever"},
    "images": {"images": ("/data/images/other.png",)},
    "further columns": {"columns": {"age": 99}},
}


@pytest.mark.parametrize("split", ["train", "eval"])
@pytest.mark.parametrize("part", CHANGES)
def test_changed_rows_are_refused_with_what_of_them_differs(run, split, part):
    studies = getattr(run, split)
    studies[1] = replace(studies[1], **CHANGES[part])
    message = run.refused()
    assert message.startswith(f"data: the {split} studies or their order differ: {part} (")
    assert "resume_allow=[data]" in message
    assert "effusion" not in message and "fever" not in message


def test_another_order_of_rows_is_refused(run):
    run.train.reverse()
    assert run.refused().startswith("data: the train studies or their order differ: ids (")


def test_further_rows_are_counted(run):
    run.train.append(run.study(50))
    assert "studies (4, 5), ids (" in run.refused()


def test_more_held_out_studies_may_be_evaluated_from_here(run):
    """`eval.studies` may change, and with it how many are read."""
    run.eval.append(run.study(60))
    run.resume(eval={"studies": 4})
    run.train.append(run.study(50))
    with pytest.raises(CheckpointError, match="^data: the train studies"):
        run.resume(eval={"studies": 4})


def test_texts_cannot_flow_into_their_neighbours(run):
    first, second = run.train[:2]
    run.train[0] = replace(first, reference=first.reference + "no")
    run.train[1] = replace(second, reference=second.reference.removeprefix("no"))
    assert "references (" in run.refused()


def test_images_may_have_moved_together(run):
    run.train = [replace(s, images=tuple(f"/elsewhere/{i.rpartition('/')[2]}" for i in s.images)) for s in run.train]
    run.resume()


def test_images_in_memory_count_with_their_bytes(run):
    run.train[0] = replace(run.train[0], images=(b"one",))
    run.state |= json.loads(json.dumps(run.now().state_dict()))
    run.resume()
    run.train[0] = replace(run.train[0], images=(b"two",))
    assert "differ: images (" in run.refused()


def test_another_chat_template_is_refused(run):
    run.prompt = "<user> {indication}"
    message = run.refused()
    assert message.startswith("prompt: its text or tokens differ: sha256 ") and "resume_allow=[prompt]" in message


def test_what_is_allowed_is_a_warning_and_nothing_else_is(run):
    (run.folder / "mine.py").write_text(REWARD.format(helper=run.helper) + "# edited\n")
    run.prompt = "<user> {indication}"
    run.resume(resume_allow=["judges", "prompt"])
    assert [warning.partition(":")[0] for warning in run.warnings] == ["judge 'mine'", "prompt"]
    with pytest.raises(CheckpointError, match="^prompt: "):
        run.resume(resume_allow=["judges", "data"])


def test_a_checkpoint_without_hashes_gives_one_warning(run):
    del run.state["provenance"]
    run.train.reverse()
    run.resume()
    [warning] = run.warnings
    assert "step-5" in warning and "no hashes of judge code, data and prompt" in warning


def test_a_difference_of_the_configuration_comes_first(run):
    run.prompt = "<user> {indication}"
    with pytest.raises(CheckpointError, match=r"^scoring\.truncated: "):
        run.resume(scoring={"truncated": "mask"})


def test_ranks_that_would_train_on_different_things_are_refused(run):
    """As on two machines that each have a clone of their own."""
    first = run.now()
    assert the_same_on_all_ranks([first, run.now()]) is first
    (run.folder / f"{run.helper}.py").write_text("worth = 2.0\n")
    with pytest.raises(ConfigError, match=r"^judge 'mine': its code differs: .* on rank 0 and on rank 2, .*same code"):
        the_same_on_all_ranks([first, first, run.now()])
    (run.folder / f"{run.helper}.py").write_text("worth = 1.0\n")
    run.train.reverse()
    with pytest.raises(ConfigError, match=r"^data: the train studies or their order differ: .* on rank 1, .*same data"):
        the_same_on_all_ranks([first, run.now()])


def test_another_number_of_studies_is_refused_whatever_is_allowed(run):
    run.train.append(run.study(4))
    assert "resume_allow" not in run.refused()
    with pytest.raises(CheckpointError, match="the train studies or their order differ"):
        run.resume(resume_allow=["data"])
