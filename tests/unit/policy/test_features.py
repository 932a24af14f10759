"""Image features computed once give the log-probabilities and gradients of an encoder that runs in every pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from online_rl.errors import ConfigError
from online_rl.policy.collate import collate
from online_rl.policy.features import Images, VisionCut, see, vision_cut
from online_rl.policy.model import PolicyModel, freeze_vision

pytestmark = pytest.mark.usefixtures("one_thread")


class Engine:
    """DeepSpeed's, as far as looking at images goes."""

    def __init__(self, module):
        self.module = module

    def __call__(self, batch):
        return self.module(batch)


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
    one = see(Engine(module), [c.prompt for c in rows], torch.device("cpu"))
    blank = replace(rows[0].prompt, inputs=rows[0].prompt.inputs | {"pixel_values": _blank(rows[0].prompt)})
    other = one | {id(rows[0].prompt): see(Engine(module), [blank], torch.device("cpu"))[id(blank)]}
    with torch.no_grad():
        difference = (learn_free(module, rows, one) - learn_free(module, rows, other)).abs().amax(-1)
    assert (difference[:2] > 1e-6).all() and (difference[2:] < 1e-6).all()


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
