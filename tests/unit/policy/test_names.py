"""Names on disk: those that `save_pretrained` writes, one for each weight in memory."""

import pytest
import torch
from safetensors.torch import load_file

from online_rl.policy.names import disk_names

pytestmark = pytest.mark.usefixtures("one_thread")


def test_names_are_those_in_the_saved_files(demo_model, tmp_path):
    names = disk_names(demo_model)
    demo_model.save_pretrained(tmp_path)
    written = {}
    for path in tmp_path.glob("*.safetensors"):
        written |= load_file(path)
    memory = dict(demo_model.named_parameters())
    assert names.keys() == memory.keys()
    assert sorted(names.values()) == sorted(written)  # each name on disk exactly once
    for name, on_disk in names.items():
        torch.testing.assert_close(memory[name].detach(), written[on_disk], rtol=0, atol=0)
