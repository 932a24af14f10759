"""Checkpoints: whole or not there, whatever breaks in between; and only for the run that wrote them."""

import errno
import json
from pathlib import Path

import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from online_rl import checkpoint
from online_rl.config import config_from_dict
from online_rl.errors import CheckpointError, ConfigError
from online_rl.ranks import collectives

STATE = {"sampler": {"epoch": 0, "position": 4}, "num_tokens": 123}


class Weights:
    """Stands in for the policy: writes two files, as DeepSpeed writes a shard per rank."""

    def __init__(self, content: bytes = b"weights" * 1000) -> None:
        self.content = content
        self.saved = 0

    def save(self, folder: Path) -> None:
        self.saved += 1
        (folder / "zero").mkdir()
        (folder / "zero" / "shard_0.pt").write_bytes(self.content)
        (folder / "zero" / "shard_1.pt").write_bytes(self.content[::-1])


class Breaks(Weights):
    """Writes one file, then cannot go on."""

    def __init__(self, problem: Exception) -> None:
        super().__init__()
        self.problem = problem

    def save(self, folder: Path) -> None:
        (folder / "half.pt").write_bytes(self.content)
        raise self.problem


def config(tmp_path, **sections):
    return config_from_dict({"run": {"dir": str(tmp_path)}, **sections})


def save(tmp_path, step, policy=None, **sections):
    return checkpoint.save(tmp_path, step, policy or Weights(), STATE, config(tmp_path, **sections))


def found(tmp_path, resume="auto", **sections):
    """(checkpoint, warnings)"""
    warnings: list[str] = []
    return checkpoint.find(config(tmp_path, resume=resume, **sections), warnings.append), warnings


def steps(tmp_path):
    return sorted(p.name for p in (tmp_path / "checkpoints").iterdir())


def test_what_was_saved_is_found_again(tmp_path):
    folder = save(tmp_path, 12)
    assert folder == tmp_path / "checkpoints" / "step-12"
    assert (folder / "zero" / "shard_0.pt").read_bytes() == Weights().content
    result, warnings = found(tmp_path)
    assert (result.step, result.folder, warnings) == (12, folder, [])
    assert result.state["sampler"] == STATE["sampler"] and result.state["num_tokens"] == 123
    assert found(tmp_path, str(folder))[0].step == 12
    assert found(tmp_path, "never") == (None, [])


def test_the_marker_comes_last_and_lists_every_file(tmp_path):
    class Looks(Weights):
        def save(self, folder):
            assert folder.suffix == ".partial"
            assert not list(folder.parent.rglob(checkpoint.MARKER))
            super().save(folder)

    folder = save(tmp_path, 1, Looks())
    manifest = json.loads((folder / checkpoint.MARKER).read_text())
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert files == {*manifest, checkpoint.MARKER} == {"state.json", "zero/shard_0.pt", "zero/shard_1.pt", "complete"}
    assert steps(tmp_path) == ["step-1"]


def flip_a_bit(folder):
    path = folder / "zero" / "shard_1.pt"
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)


def truncate(folder):
    path = folder / "zero" / "shard_0.pt"
    path.write_bytes(path.read_bytes()[:-1])


def remove(folder):
    (folder / "zero" / "shard_0.pt").unlink()


def break_the_state(folder):
    (folder / "state.json").write_text("{")


def break_the_marker(folder):
    (folder / checkpoint.MARKER).write_text('{"state.json": [')


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, remove, break_the_state, break_the_marker])
def test_damage_is_seen_and_the_one_before_is_taken(tmp_path, damage):
    save(tmp_path, 2)
    last = save(tmp_path, 10)  # by number, not by name: "step-10" sorts before "step-2"
    damage(last)
    result, warnings = found(tmp_path)
    assert result.step == 2
    assert len(warnings) == 1 and "step-10" in warnings[0] and "before" in warnings[0]
    with pytest.raises(CheckpointError, match="step-10"):
        found(tmp_path, str(last))


def test_a_step_that_a_resume_passed_over_as_damaged_is_written_anew(tmp_path):
    save(tmp_path, 2)
    truncate(save(tmp_path, 4))
    assert found(tmp_path)[0].step == 2
    save(tmp_path, 4)  # the run has come to step 4 again
    assert found(tmp_path)[0].step == 4


def test_a_step_that_is_there_already_is_not_written_twice(tmp_path):
    save(tmp_path, 2)
    again = Weights()
    save(tmp_path, 2, again)
    assert again.saved == 0


def test_when_all_are_damaged_a_fresh_start_is_said_aloud(tmp_path):
    truncate(save(tmp_path, 1))
    remove(save(tmp_path, 2))
    result, warnings = found(tmp_path)
    assert result is None
    assert len(warnings) == 3 and "starting at step 1" in warnings[-1]


def test_an_unfinished_one_is_never_taken(tmp_path):
    folder = save(tmp_path, 3)
    (folder / checkpoint.MARKER).unlink()
    with pytest.raises(CheckpointError, match="step-3.*marker"):
        found(tmp_path, str(folder))
    result, warnings = found(tmp_path)
    assert result is None and len(warnings) == 2


def test_leftovers_of_an_interrupted_save_are_removed_and_nothing_else(tmp_path):
    save(tmp_path, 1)
    for leftover in ("step-2.partial", "step-3"):  # killed before the rename; between rename and marker
        (tmp_path / "checkpoints" / leftover).mkdir()
        (tmp_path / "checkpoints" / leftover / "shard.pt").write_bytes(b"half")
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    checkpoint.claim_run_folder(config(tmp_path, resume="auto"))
    assert steps(tmp_path) == ["step-1"]
    assert (tmp_path / "metrics.jsonl").exists()


def test_a_leftover_does_not_get_into_the_next_save_of_that_step(tmp_path):
    partial = tmp_path / "checkpoints" / "step-2.partial"
    partial.mkdir(parents=True)
    (partial / "of_another_time.pt").write_bytes(b"old")
    assert not (save(tmp_path, 2) / "of_another_time.pt").exists()


@pytest.mark.parametrize("used", ["metrics.jsonl", "checkpoints", "tensorboard"])
def test_a_used_folder_is_refused_without_resume(tmp_path, used):
    (tmp_path / used).mkdir()
    with pytest.raises(ConfigError, match=f"{used}.*resume=auto"):
        checkpoint.claim_run_folder(config(tmp_path))
    checkpoint.claim_run_folder(config(tmp_path, resume="auto"))


def test_a_new_folder_is_made(tmp_path):
    checkpoint.claim_run_folder(config(tmp_path / "runs" / "new"))
    assert (tmp_path / "runs" / "new").is_dir()
    checkpoint.claim_run_folder(config(tmp_path / "runs" / "new"))  # empty, so it holds no run


def test_another_configuration_is_refused_with_key_and_both_values(tmp_path):
    folder = save(tmp_path, 5, train={"learning_rate": 1e-6})
    for resume in ("auto", str(folder)):
        with pytest.raises(CheckpointError) as refused:
            found(tmp_path, resume, train={"learning_rate": 3e-6})
        message = str(refused.value)
        assert message.startswith("train.learning_rate: ") and "1e-06" in message and "3e-06" in message
        assert "step-5" in message


def test_another_number_of_ranks_is_refused(tmp_path, monkeypatch):
    save(tmp_path, 5)
    monkeypatch.setattr("online_rl.ranks.collectives.world_size", lambda: 2)
    monkeypatch.setattr("online_rl.ranks.collectives.gather", lambda mine: [mine, mine])
    with pytest.raises(CheckpointError, match=r"1 rank\(s\).*has 2"):
        found(tmp_path)


def test_ranks_that_find_different_checkpoints_do_not_go_on(tmp_path, monkeypatch):
    save(tmp_path, 5)
    monkeypatch.setattr("online_rl.ranks.collectives.gather", lambda mine: [mine, 3 if mine == 5 else mine])
    with pytest.raises(CheckpointError, match=r"different steps \(rank 0 5, rank 1 3\).*every machine sees"):
        found(tmp_path)


@pytest.mark.parametrize(
    "problem, words",
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        # What torch.save raises on a full disk
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"), "unexpected pos"),
    ],
)
def test_a_full_disk_leaves_the_older_checkpoint_and_no_leftover(tmp_path, problem, words):
    save(tmp_path, 1)
    with pytest.raises(CheckpointError, match=rf"step-2.*{words}.*GiB free.*Older checkpoints are untouched"):
        save(tmp_path, 2, Breaks(problem))
    assert steps(tmp_path) == ["step-1"]
    assert found(tmp_path)[0].step == 1
    save(tmp_path, 2)  # once there is space again
    assert found(tmp_path)[0].step == 2


def test_a_full_disk_at_the_marker_leaves_no_leftover_either(tmp_path, monkeypatch):
    save(tmp_path, 1)

    def full(path, text, *args, **kwargs):
        if path.name.lstrip(".").startswith(checkpoint.MARKER):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, text, *args, **kwargs)

    real = Path.write_text
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save(tmp_path, 2)
    assert steps(tmp_path) == ["step-1"]


def test_a_place_where_nothing_can_be_written(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save(tmp_path, 1)


def test_a_fault_of_the_program_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(TypeError):
        save(tmp_path, 1, Breaks(TypeError("not a tensor")))


def test_the_newest_are_kept(tmp_path):
    for step in (2, 4, 10, 12):
        save(tmp_path, step, train={"keep_checkpoints": 2})
    assert steps(tmp_path) == ["step-10", "step-12"]


def test_a_run_that_starts_anew_keeps_what_it_saves_beside_damaged_checkpoints_of_later_steps(tmp_path):
    for step in (50, 60):
        truncate(save(tmp_path, step))
    result, _ = found(tmp_path)
    assert result is None
    assert len(checkpoint.set_later_aside(0, tmp_path)) == 2
    for step in (1, 2, 3):
        save(tmp_path, step, train={"keep_checkpoints": 2})
        assert found(tmp_path)[0].step == step
    assert steps(tmp_path) == ["abandoned-step-50", "abandoned-step-60", "step-2", "step-3"]


def test_pruning_never_removes_what_was_just_saved(tmp_path):
    """Damage that came after the start: nothing has set these aside."""
    for step in (50, 60):
        truncate(save(tmp_path, step))
    for step in (1, 2):
        save(tmp_path, step, train={"keep_checkpoints": 1})
        assert found(tmp_path)[0].step == step


def test_an_old_one_that_cannot_be_removed_costs_the_new_one_nothing(tmp_path, monkeypatch):
    save(tmp_path, 1)
    unlink = Path.unlink

    def stubborn(path, missing_ok=False):
        if path.parent.name == "step-1":
            raise PermissionError("stale file handle")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", stubborn)
    save(tmp_path, 2, train={"keep_checkpoints": 1})
    monkeypatch.undo()
    assert steps(tmp_path) == ["step-1", "step-2"] and found(tmp_path)[0].step == 2


def test_folders_of_other_names_are_left_alone(tmp_path):
    (tmp_path / "checkpoints" / "step-best").mkdir(parents=True)
    save(tmp_path, 1, train={"keep_checkpoints": 1})
    save(tmp_path, 2, train={"keep_checkpoints": 1})
    assert steps(tmp_path) == ["step-2", "step-best"]
    assert found(tmp_path)[0].step == 2


def two_ranks(rank, folder, results):
    """Runs in a process of its own: rank 1 alone has a full disk, then both save, then rank 0 cannot write."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    run = Path(folder) / "run"

    class Shard(Weights):
        def save(self, folder):
            (folder / f"shard_{rank}.pt").write_bytes(self.content)

    full = Breaks(OSError(errno.ENOSPC, "No space left on device")) if rank == 1 else Shard()
    errors = []
    for step, policy, root in ((1, full, run), (2, Shard(), run), (3, Shard(), Path(folder) / "meet")):
        try:
            save(root, step, policy)
        except Exception as error:
            errors.append((step, type(error).__name__, str(error)))
    results[rank] = (errors, collectives.gather(rank))
    dist.destroy_process_group()


def test_when_one_rank_cannot_write_all_ranks_stop_and_none_waits(tmp_path):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(two_ranks, (str(tmp_path), results), nprocs=2)
        first, second = results[0], results[1]
    assert first[1] == second[1] == [0, 1]  # afterwards they still understand each other
    assert [(step, name) for step, name, _ in first[0]] == [(1, "RankFailed"), (3, "CheckpointError")]
    assert [(step, name) for step, name, _ in second[0]] == [(1, "CheckpointError"), (3, "RankFailed")]
    assert "rank 1 stopped" in first[0][0][2] and "No space left" in first[0][0][2]
    assert steps(tmp_path / "run") == ["step-2"]
    manifest = json.loads((tmp_path / "run" / "checkpoints" / "step-2" / checkpoint.MARKER).read_text())
    assert set(manifest) == {"state.json", "shard_0.pt", "shard_1.pt"}


def test_what_lies_behind_the_resumed_step_is_set_aside(tmp_path):
    for step in (10, 20, 30):
        (tmp_path / "checkpoints" / f"step-{step}").mkdir(parents=True)
    told = checkpoint.set_later_aside(20, tmp_path)
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["abandoned-step-30", "step-10", "step-20"]
    assert len(told) == 1 and "step-30" in told[0]


def test_parts_keep_their_state_under_names_of_their_own(tmp_path):
    class Counter:
        def __init__(self, name: str, value: int) -> None:
            self.name, self.value = name, value

        def state_dict(self):
            return {self.name: self.value}

        def load_state_dict(self, state):
            self.value = state[self.name]

    class Loads(Weights):
        def load(self, folder: Path) -> None:
            self.content = (folder / "zero" / "shard_0.pt").read_bytes()

    cfg = config(tmp_path)
    folder = checkpoint.Checkpoints(cfg, Loads(b"ab"), [Counter("apples", 3), Counter("pears", 5)]).save(7)
    policy, parts = Loads(b"zz"), [Counter("apples", 0), Counter("pears", 0)]
    again = checkpoint.Checkpoints(cfg, policy, parts)
    assert folder == again.folder(7)
    again.load(checkpoint.open_complete(folder))
    assert (policy.content, [part.value for part in parts]) == (b"ab", [3, 5])
