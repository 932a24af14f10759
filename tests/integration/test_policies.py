"""Other policies than the demo's, tiny and with random weights: vLLM, ZeRO-3, sync and export agree with transformers.

The images of a micro-batch differ in size and number, so that patches (Qwen2.5-VL) and tiles (SmolVLM) do too.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cores import cores
from tests.integration.launch import ROOT, environment

pytestmark = pytest.mark.long

OWN = Path(sys.prefix) / "torchvision"  # where launch/setup.sh puts it on a machine without a GPU
SHIM = Path(os.environ.get("ONLINE_RL_SHARED") or ROOT.parent / "shared") / "tools" / "torchvision_cpu"
QWEN_BANNED = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
EXACT = 1e-4  # nats; float32 agrees to 1e-5


@pytest.fixture(scope="session")
def with_torchvision() -> dict[str, str]:
    """Environment in which torchvision and num2words import."""
    env = environment()
    if importlib.util.find_spec("torchvision") is None:
        if not OWN.is_dir():
            pytest.skip(f"torchvision is neither installed nor in {OWN} (bash launch/setup.sh --test puts it there)")
        if not SHIM.is_dir():
            pytest.skip(f"{SHIM}, which lets torchvision import beside a CPU-only torch, is not here")
        already = os.environ.get("PYTHONPATH", "")  # another vLLM, where benchmarks/vllm_versions.py has put it there
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), str(OWN), str(SHIM), already]))
    return env


@pytest.mark.parametrize(
    ("shape", "banned", "image_tokens", "pixels", "frozen"),
    [
        # One row of pixels per patch of 14 x 14: as many as the pictures need, 4 to a token. All of it is trained.
        ("qwen2_5_vl", QWEN_BANNED, [4, 12, 4], [[16, 1176], [48, 1176]], ()),
        # The same with patches of 16 x 16; the mergers of the vision encoder go on learning.
        (
            "qwen3_vl",
            QWEN_BANNED,
            [4, 11, 3],
            [[12, 1536], [16, 1536], [44, 1536]],
            ("model.visual.blocks.", "model.visual.patch_embed.", "model.visual.pos_embed."),
        ),
        # 4 tokens per tile: 2 x 2 of them or 2 x 1, and the whole picture made small as one more.
        (
            "smolvlm",
            ["<image>", "<fake_token_around_image>", "<global-img>"],
            [20, 32, 12],
            [[1, 3, 3, 56, 56], [1, 5, 3, 56, 56], [1, 8, 3, 56, 56]],
            ("model.vision_model.",),
        ),
    ],
)
def test_there_and_back(with_torchvision, work, shape, banned, image_tokens, pixels, frozen):
    command = [sys.executable, "-m", "tests.integration.policy_shape", shape, str(work / shape)]
    with cores(1):
        done = subprocess.run(
            [*command, *(["--freeze-vision"] if frozen else [])],
            cwd=ROOT,
            env=with_torchvision,
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr[-6000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["banned"], found["banned_sampled"]) == (banned, 0)
    assert (found["image_tokens"], found["pixel_shapes"]) == (image_tokens, pixels)
    assert max(found["trainer_and_vllm"]) < EXACT, "before and after an update and its sync"
    assert max(found["transformers_and_vllm"]) < EXACT, "before with the base, after with the exported folder"
    assert found["read"][0] == found["read"][1] and found["transformers_and_read"] < EXACT, "teacher-forced, by vLLM"
    assert found["old_weights_and_vllm"] > 0.1, "the update has changed what vLLM samples from"
    assert found["blank_image"] > 0.1, "the image matters to the log-probabilities"
    assert found["names_as_saved"]
    assert bool(found["frozen"]) == bool(frozen) and all(name.startswith(frozen) for name in found["frozen"])
