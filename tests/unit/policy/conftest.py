"""The tiny demo model with drawn images, and completions behind real prompts."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.rollout.prompts import PromptBuilder


@pytest.fixture(scope="session")
def demo_model(demo_processor):
    """Untrained weights, float32, in eval mode."""
    from online_rl.demo.policy import make_model

    return make_model(demo_processor, seed=0).eval()


@pytest.fixture(scope="session")
def drawn():
    """`drawn(seed)`: a picture of coarse random blocks, as PNG bytes."""
    import io

    def draw(seed: int) -> bytes:
        blocks = torch.randint(0, 256, (7, 7), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        file = io.BytesIO()
        Image.fromarray(blocks.numpy()).resize((112, 112), Image.Resampling.NEAREST).save(file, "PNG")
        return file.getvalue()

    return draw


@pytest.fixture(scope="session")
def make_prompt(demo_processor, make_study, drawn):
    """`make_prompt(indication, 1, 2)`: the prompt of a study with the images drawn from those seeds."""
    from dataclasses import replace

    builder = PromptBuilder(demo_processor, config_from_dict({}))

    def make(indication: str, *images: int):
        return builder.build(replace(make_study(images=tuple(map(drawn, images))), indication=indication))

    return make


@pytest.fixture(scope="session")
def completions(make_prompt, make_completion):
    """Three completions of different lengths: two images, one image and a longer prompt, one image."""
    prompts = [
        make_prompt("cough", 1, 2),
        make_prompt("fever for three weeks, rule out effusion", 3),
        make_prompt("", 4),
    ]
    ids = [(40, 41, 42, 43, 2), (50,), (60, 61, 2)]
    return [make_completion(ids=i, prompt=p) for i, p in zip(ids, prompts, strict=True)]
