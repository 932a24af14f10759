"""Image features computed once give the log-probabilities and gradients of an encoder that runs in every pass."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from online_rl.errors import ConfigError
from online_rl.policy.model import PolicyModel, freeze_vision
from online_rl.policy.passes.collate import collate
from online_rl.policy.passes.vision_cut import Images, VisionCut, encode_images, vision_cut

pytestmark = pytest.mark.usefixtures("one_thread")


class Engine:
    """DeepSpeed's, as far as looking at images goes."""

    def __init__(self, module):
        self.module = module

    def __call__(self, batch):
        return self.module(batch)


@pytest.fixture
def frozen(demo_processor):
    """The demo's model, its vision encoder frozen."""
    from online_rl.demo.policy import make_model

    model = make_model(demo_processor, seed=0).eval()
    freeze_vision(model)
    return model


def with_cut(model):
    module = PolicyModel(model, [1], 1.0)
    module.cut = VisionCut(model)
    return module


def look(module, prompts, together=8):
    return encode_images(Engine(module), prompts, torch.device("cpu"), together)


def learn(module, rows, features):
    batch = collate([[c] for c in rows], [1.0] * len(rows), [1.0] * len(rows), 0, features)
    assert (batch.features is not None) == bool(features)
    module.zero_grad()
    logp, entropy = module(batch)
    (logp * torch.arange(1.0, logp.numel() + 1).view_as(logp)).sum().backward()
    return logp.detach(), entropy, {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def test_kept_features_change_neither_log_probabilities_nor_gradients(policy, rows):
    module = PolicyModel(policy[0], [1], 1.0)
    logp, entropy, gradients = learn(module, rows, None)
    module.cut = VisionCut(policy[0])
    features = look(module, [c.prompt for c in rows])
    assert len(features) == 2, "once per study"
    torch.nn.init.constant_(next(_layer_weights(policy[0])), float("nan"))  # whoever still runs the layers sees NaN
    kept_logp, kept_entropy, kept_gradients = learn(module, rows, features)
    torch.testing.assert_close(kept_logp, logp, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(kept_entropy, entropy, atol=1e-5, rtol=1e-5)
    assert kept_gradients.keys() == gradients.keys()
    assert any("projector" in name or "connector" in name or "merger" in name for name in gradients), "it learns"
    for name, gradient in gradients.items():
        torch.testing.assert_close(kept_gradients[name], gradient, atol=1e-5, rtol=1e-4)
    batch = collate([[c] for c in rows], [1.0] * 4, [1.0] * 4, 0)
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
    one = look(module, [c.prompt for c in rows])
    blank = replace(rows[0].prompt, inputs=rows[0].prompt.inputs | {"pixel_values": _blank(rows[0].prompt)})
    other = one | {rows[0].prompt.key: look(module, [blank])[blank.key]}
    with torch.no_grad():
        difference = (learn_free(module, rows, one) - learn_free(module, rows, other)).abs().amax(-1)
    assert (difference[:2] > 1e-6).all() and (difference[2:] < 1e-6).all()


def test_studies_that_are_looked_at_together_keep_their_own_features(policy, rows):
    module = with_cut(policy[0])
    prompts = [
        rows[0].prompt,
        replace(rows[0].prompt, inputs=rows[0].prompt.inputs | {"pixel_values": _noise(rows[0])}),
    ]
    engine = Counting(module)
    together = encode_images(engine, prompts, torch.device("cpu"), 8)
    assert engine.calls == 1
    alone = encode_images(engine, prompts, torch.device("cpu"), 1)
    assert engine.calls == 1 + 2
    first, second = (together[prompt.key] for prompt in prompts)
    for name in first:
        assert (first[name] - second[name]).norm() > 1e-3 * first[name].norm(), "the images differ"
        for prompt in prompts:
            torch.testing.assert_close(together[prompt.key][name], alone[prompt.key][name], atol=1e-5, rtol=1e-5)


def test_a_copied_prompt_is_not_looked_at_again(frozen, make_prompt):
    engine, prompt = Counting(with_cut(frozen)), make_prompt("cough", 1)
    features = encode_images(engine, [prompt, copy.deepcopy(prompt), replace(prompt)], torch.device("cpu"), 1)
    assert (engine.calls, list(features)) == (1, [prompt.key])


def test_images_of_other_shapes_are_looked_at_apart(frozen, make_prompt):
    module = with_cut(frozen)
    prompts = [make_prompt("cough", 1), make_prompt("cough", 1, 2), make_prompt("fever", 3)]
    engine = Counting(module)
    features = encode_images(engine, prompts, torch.device("cpu"), 8)
    [name] = features[prompts[0].key]
    assert engine.calls == 2
    assert [len(features[prompt.key][name]) for prompt in prompts] == [1, 2, 1], "one block of patches per image"


class Counting(Engine):
    calls = 0

    def __call__(self, batch):
        self.calls += 1
        return super().__call__(batch)


def _noise(completion):
    return torch.randn_like(completion.prompt.inputs["pixel_values"])


def _blank(prompt):
    return torch.full_like(prompt.inputs["pixel_values"], 0.5)


def learn_free(module, rows, features):
    return module(collate([[c] for c in rows], [1.0] * 4, [1.0] * 4, 0, features))[0]


def test_where_the_encoder_learns_nothing_is_kept(demo_processor):
    from online_rl.demo.policy import make_model

    model = make_model(demo_processor, seed=0)
    assert vision_cut(model) is None
    freeze_vision(model)
    assert vision_cut(model) is not None
    assert vision_cut(torch.nn.Linear(2, 2)) is None


def test_a_model_that_uses_more_than_its_projector_reads_is_refused(frozen, make_prompt):
    """As if the language model also read the encoder's patches directly."""
    look = frozen.model.get_image_features

    def leaky(pixel_values, pixel_attention_mask=None):
        seen = look(pixel_values, pixel_attention_mask)
        seen["deepstack_features"] = seen.last_hidden_state
        return seen

    frozen.model.get_image_features = leaky
    with pytest.raises(ConfigError, match="do not all pass through its projector"):
        VisionCut(frozen).take(Images([make_prompt("cough", 1).inputs]))


@pytest.mark.parametrize(
    ("mixed", "words"),
    [
        (lambda seen: seen.flip(0), "makes something else of a study's images when other studies' lie beside them"),
        (lambda seen: seen[:1], "2 studies with images of the same shapes became 1 rows of features"),
    ],
)
def test_a_model_that_mixes_studies_up_is_refused_whatever_is_looked_at_first(frozen, make_prompt, mixed, words):
    for p in VisionCut(frozen)._layers[0].parameters():
        torch.nn.init.normal_(p, std=0.2)
    frozen.model.connector.register_forward_pre_hook(lambda _, args: (mixed(args[0]), *args[1:]))
    with pytest.raises(ConfigError, match=words):
        look(with_cut(frozen), [make_prompt("cough", 1)])


def test_studies_whose_images_count_differently_do_not_share_a_look(frozen, make_prompt, make_study):
    """Padded to the same shape, as LLaVA-Next's processor does, their features are of different numbers."""
    module = with_cut(frozen)
    prompt = make_prompt("cough", 1)
    mask = torch.ones(
        prompt.inputs["pixel_values"].shape[:2] + prompt.inputs["pixel_values"].shape[3:], dtype=torch.bool
    )
    part = mask.clone()
    part[..., : part.shape[-1] // 2] = False
    prompts = [
        replace(prompt, study=make_study(f"s{i}"), inputs=prompt.inputs | {"pixel_attention_mask": m})
        for i, m in enumerate((mask, part, mask.clone()))
    ]
    engine = Counting(module)
    assert len(encode_images(engine, prompts, torch.device("cpu"), 8)) == 3
    assert engine.calls == 2
