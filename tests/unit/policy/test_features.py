"""Image features computed once give the log-probabilities and gradients of an encoder that runs in every pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from online_rl.errors import ConfigError
from online_rl.policy.collate import collate
from online_rl.policy.features import Images, VisionCut, see, vision_cut
from online_rl.policy.model import PolicyModel, freeze_vision
from online_rl.rollout.types import Prompt

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
ENCODER = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2}
SQUARE = ENCODER | {"image_size": 16, "patch_size": 4}  # 16 patches
IDS = {"image_token_id": 1, "video_token_id": 2, "vision_start_token_id": 3, "vision_end_token_id": 4}
MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}


def idefics3(name):
    import transformers

    text = transformers.LlamaConfig(**TEXT) if name == "Idefics3" else {"model_type": "llama", **TEXT}
    config = getattr(transformers, f"{name}Config")(
        vision_config=dict(SQUARE), text_config=text, image_token_id=1, scale_factor=2, pad_token_id=0
    )
    return getattr(transformers, f"{name}ForConditionalGeneration")(config)


def pixels(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tiles(images, seed):
    """(1, images, 3, H, W), 4 tokens each."""
    return 4 * images, {"pixel_values": pixels(seed, 1, images, 3, 16, 16)}


def qwen2_5():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 3, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "fullatt_block_indexes": [1]}
    vision |= {"out_hidden_size": 32, "patch_size": 4, "window_size": 16}
    text = TEXT | {"rope_parameters": MROPE}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **IDS))


def qwen3():
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {"depth": 3, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "patch_size": 4}
    vision |= {"out_hidden_size": 32, "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
    text = TEXT | {"head_dim": 16, "rope_parameters": MROPE}
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **IDS))


def patches(images, seed):
    """Qwen's layout: the patches of all images end to end, with a grid per image; other sizes in every study."""
    grid = torch.tensor([[1, 4, 4 + 2 * (seed % 2)]] * images)
    count = int(grid.prod(-1).sum())
    tokens = count // 4
    inputs = {"pixel_values": pixels(seed, count, 3 * 2 * 4 * 4), "image_grid_thw": grid}
    return tokens, inputs


def gemma3():
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = TEXT | {"head_dim": 16, "sliding_window": 512}
    vision = SQUARE | {"vision_use_head": False}
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=1)
    return Gemma3ForConditionalGeneration(config)


def squares(images, seed):
    """Gemma's layout: (images, 3, H, W)."""
    return 4 * images, {"pixel_values": pixels(seed, images, 3, 16, 16)}


def llava():
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    vision = SQUARE | {"model_type": "clip_vision_model"}
    config = LlavaConfig(text_config={"model_type": "llama", **TEXT}, vision_config=vision, image_token_index=1)
    return LlavaForConditionalGeneration(config)  # reads the last but one layer, without its class token


def clip(images, seed):
    return 16 * images, {"pixel_values": pixels(seed, images, 3, 16, 16)}


MODELS = {
    "Idefics3": (lambda: idefics3("Idefics3"), tiles),
    "SmolVLM": (lambda: idefics3("SmolVLM"), tiles),
    "Qwen2.5-VL": (qwen2_5, patches),
    "Qwen3-VL": (qwen3, patches),
    "Gemma 3": (gemma3, squares),
    "LLaVA": (llava, clip),
}


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


class Engine:
    """DeepSpeed's, as far as looking at images goes."""

    def __init__(self, module):
        self.module = module

    def __call__(self, batch):
        return self.module(batch)


def learn(module, rows, features):
    batch = collate(rows, [1.0] * len(rows), [1.0] * len(rows), 0, features)
    assert (batch.features is not None) == bool(features)
    module.zero_grad()
    logp, entropy = module(batch)
    (logp * torch.arange(1.0, logp.numel() + 1).view_as(logp)).sum().backward()
    return logp.detach(), entropy, {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def test_kept_features_change_neither_log_probabilities_nor_gradients(policy, rows):
    module = PolicyModel(policy[0], [1], 1.0)
    logp, entropy, gradients = learn(module, rows, None)
    module.cut = VisionCut(policy[0])
    features = see(Engine(module), [c.prompt for c in rows], torch.device("cpu"))
    assert len(features) == 2, "once per study"
    torch.nn.init.constant_(next(_layer_weights(policy[0])), float("nan"))  # whoever still runs the layers sees NaN
    kept_logp, kept_entropy, kept_gradients = learn(module, rows, features)
    torch.testing.assert_close(kept_logp, logp, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(kept_entropy, entropy, atol=1e-5, rtol=1e-5)
    assert kept_gradients.keys() == gradients.keys()
    assert any("projector" in name or "connector" in name or "merger" in name for name in gradients), "it learns"
    for name, gradient in gradients.items():
        torch.testing.assert_close(kept_gradients[name], gradient, atol=1e-5, rtol=1e-4)
    batch = collate(rows, [1.0] * 4, [1.0] * 4, 0)
    assert module(batch)[0].isnan().any(), "without features the layers run again"


def _layer_weights(model):
    layer = VisionCut(model)._layers[0]
    return (p for p in layer.parameters() if p.dim() > 1)


def test_the_features_are_the_images_own(policy, rows):
    """Another image changes the log-probabilities of its study's rows, through its features alone."""
    module = PolicyModel(policy[0], [1], 1.0)
    for layer in VisionCut(policy[0])._layers:
        for p in layer.parameters():
            torch.nn.init.normal_(p, std=0.2)
    module.cut = VisionCut(policy[0])
    one = see(Engine(module), [c.prompt for c in rows], torch.device("cpu"))
    blank = replace(rows[0].prompt, inputs=rows[0].prompt.inputs | {"pixel_values": _blank(rows[0].prompt)})
    other = one | {id(rows[0].prompt): see(Engine(module), [blank], torch.device("cpu"))[id(blank)]}
    with torch.no_grad():
        difference = (learn_free(module, rows, one) - learn_free(module, rows, other)).abs().amax(-1)
    assert (difference[:2] > 1e-6).all() and (difference[2:] < 1e-6).all()


def _blank(prompt):
    return torch.full_like(prompt.inputs["pixel_values"], 0.5)


def learn_free(module, rows, features):
    return module(collate(rows, [1.0] * 4, [1.0] * 4, 0, features))[0]


def test_where_the_encoder_learns_nothing_is_kept(demo_processor):
    from online_rl.demo.policy import make_model

    model = make_model(demo_processor, seed=0)
    assert vision_cut(model) is None
    freeze_vision(model)
    assert vision_cut(model) is not None
    assert vision_cut(torch.nn.Linear(2, 2)) is None


def test_a_model_that_uses_more_than_its_projector_reads_is_refused(demo_processor, make_prompt):
    """As if the language model also read the encoder's patches directly."""
    from online_rl.demo.policy import make_model

    model = make_model(demo_processor, seed=0).eval()
    freeze_vision(model)
    look = model.model.get_image_features

    def leaky(pixel_values, pixel_attention_mask=None):
        seen = look(pixel_values, pixel_attention_mask)
        seen["deepstack_features"] = seen.last_hidden_state
        return seen

    model.model.get_image_features = leaky
    with pytest.raises(ConfigError, match="image_features_once: found true"):
        VisionCut(model).take(Images(make_prompt("cough", 1).inputs))
