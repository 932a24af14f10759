"""Files are there whole or not at all, whatever ends the writing."""

from __future__ import annotations

import os

import pytest

from online_rl.whole_file import whole_file


def test_the_file_appears_when_the_block_ends_well(tmp_path):
    path = tmp_path / "new" / "a.json"
    with whole_file(path) as partial:
        partial.write_text("1")
        assert not path.exists() and partial.suffix == ".json"
    assert path.read_text() == "1" and os.listdir(path.parent) == ["a.json"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path, full_disk):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(OSError), full_disk(1000), whole_file(path) as partial:
        partial.write_text("x" * 100_000)
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]


def test_a_private_one_is_private_from_its_first_byte(tmp_path):
    path = tmp_path / "a.html"
    (tmp_path / ".a.partial.html").write_text("left behind, readable by all")
    with whole_file(path, private=True) as partial:
        assert partial.stat().st_mode & 0o777 == 0o600 and partial.read_bytes() == b""
        partial.write_text("secret")
    assert path.stat().st_mode & 0o777 == 0o600
