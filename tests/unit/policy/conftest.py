"""The tiny demo model with drawn images, completions behind real prompts, and small models of other architectures."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from online_rl.config import config_from_dict
from online_rl.policy.model import freeze_vision
from online_rl.rollout.prompts import PromptBuilder
from online_rl.rollout.types import Prompt
from tests.unit.policy.architectures import MODELS, squares


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


@pytest.fixture(scope="module", params=MODELS)
def policy(request):
    """A small random model with its vision encoder frozen, and the layout of its images."""
    build, images = MODELS[request.param]
    torch.manual_seed(0)
    model = build().float().eval()
    for parameter in model.parameters():
        if not parameter.any():  # Gemma's projector starts at 0
            torch.nn.init.normal_(parameter, std=0.02)
    freeze_vision(model)
    return model, images


@pytest.fixture
def rows(policy, make_completion, make_study):
    """Two completions of a study with two images, and two of another with one: as micro-batches hold them."""
    _, images = policy
    rows = []
    for seed, count in ((1, 2), (2, 1)):
        tokens, inputs = images(count, seed)
        ids = (10, 3, *(1,) * tokens, 4, 11 + seed)
        if "image_grid_thw" in inputs:  # each image between its own marks, as Qwen's positions expect
            per = [int(g.prod()) // 4 for g in inputs["image_grid_thw"]]
            ids = (10, *(t for n in per for t in (3, *(1,) * n, 4)), 11 + seed)
            inputs["mm_token_type_ids"] = torch.tensor([[int(t == 1) for t in ids]])
        if images is squares:
            inputs["token_type_ids"] = torch.tensor([[int(t == 1) for t in ids]])
        prompt = Prompt(make_study(), "", (), ids, inputs)
        rows += [make_completion(ids=(20 + i, 30, 31 + seed), prompt=prompt) for i in range(2)]
    return rows
