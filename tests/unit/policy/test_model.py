"""Log-probabilities of the wrapped model against transformers' own forward pass; what is frozen, what is banned."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from online_rl.errors import ConfigError
from online_rl.policy.model import PolicyModel, banned_token_ids, freeze_vision, is_vision, without_dropout
from online_rl.policy.passes.collate import collate
from online_rl.policy.supervised import SupervisedModel
from tests.unit.policy.gradients import gradients, same_gradients

pytestmark = pytest.mark.usefixtures("one_thread")


def batch_of(completions):
    return collate([[c] for c in completions], [1.0] * len(completions), [1.0] * len(completions), pad_id=0)


def plain(model, completion, temperature=1.0):
    """(T, V) log-probabilities of one completion alone, the way transformers' users write it."""
    prompt = completion.prompt
    ids = torch.tensor([prompt.ids + completion.ids])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **prompt.inputs).logits[0]
    return torch.log_softmax(logits[len(prompt.ids) - 1 : -1].float() / temperature, dim=-1)


@torch.no_grad()
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_a_padded_batch_equals_each_completion_alone(demo_model, completions, temperature):
    batch = batch_of(completions)
    logp, entropy = PolicyModel(demo_model, [], temperature)(batch)
    assert logp.shape == entropy.shape == batch.mask.shape
    for row, completion in enumerate(completions):
        expected = plain(demo_model, completion, temperature)  # (T, V)
        size = len(completion.ids)
        torch.testing.assert_close(
            logp[row, :size], expected.gather(1, torch.tensor(completion.ids)[:, None])[:, 0], atol=2e-5, rtol=1e-5
        )
        torch.testing.assert_close(entropy[row, :size], -(expected.exp() * expected).sum(-1), atol=2e-5, rtol=1e-5)
        assert not logp[row, size:].any() and not entropy[row, size:].any()


@pytest.mark.parametrize("shared", [False, True])
def test_lengths_that_are_rounded_up_change_neither_values_nor_gradients(demo_model, completions, shared):
    rows = [[c] for c in completions]
    if shared:
        rows = [[c for c in completions if c.prompt.key == key] for key in {c.prompt.key: 0 for c in completions}]
    weights = [1.0] * len(completions)
    exact, rounded = (collate(rows, weights, weights, 0, multiple=multiple) for multiple in (1, 64))
    assert rounded.ids.shape[1] % 64 == 0 and rounded.ids.shape[1] > exact.ids.shape[1]
    logp, entropy, whole = gradients(demo_model, exact, slices=1)
    padded_logp, padded_entropy, padded = gradients(demo_model, rounded, slices=1)
    torch.testing.assert_close(padded_logp, logp, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(padded_entropy, entropy, atol=2e-5, rtol=1e-5)
    same_gradients(padded, whole)


@pytest.mark.parametrize("slices", [2, 3, 9, 12])  # the batch has 9 completion tokens; another rank may have more
def test_logits_in_slices_change_neither_values_nor_gradients(demo_model, completions, slices):
    batch = batch_of(completions)
    logp, entropy, whole = gradients(demo_model, batch, slices=1)
    sliced_logp, sliced_entropy, sliced = gradients(demo_model, batch, slices)
    torch.testing.assert_close(sliced_logp, logp)
    torch.testing.assert_close(sliced_entropy, entropy)
    same_gradients(sliced, whole)


class Widest(TorchDispatchMode):
    """Rows of the largest tensor that is as wide as the vocabulary, whoever makes it."""

    def __init__(self, width, weight):
        super().__init__()
        self.width, self.weight, self.rows = width, weight, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.dim() and tensor.shape[-1] == self.width:
                rows = tensor.numel() // self.width
                self.rows = max(self.rows, rows if rows != self.weight else 0)  # the transposed lm_head
        return result


@pytest.mark.parametrize(("slices", "rows", "kept"), [(1, 9, True), (5, 2, False)])  # 9 completion tokens
def test_logits_of_all_tokens_never_exist_and_slices_are_not_kept_for_backward(
    demo_model, completions, slices, rows, kept
):
    weight = demo_model.lm_head.weight
    saved = []

    def note(tensor):
        if tensor.dim() == 2 and tensor.shape[-1] == len(weight):
            saved.append(len(tensor))
        return tensor

    with Widest(*weight.shape) as widest, torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        gradients(demo_model, batch_of(completions), slices)
    assert widest.rows == rows
    assert bool(saved) == kept, "of the slices' logits nothing is kept between forward and backward"


def test_recomputed_activations_change_no_gradient(demo_model, completions):
    batch = batch_of(completions)
    *_, plain = gradients(demo_model, batch, slices=1)
    demo_model.train().gradient_checkpointing_enable({"use_reentrant": False})
    try:
        *_, recomputed = gradients(demo_model, batch, slices=3)
    finally:
        demo_model.gradient_checkpointing_disable()
        demo_model.eval()
    same_gradients(recomputed, plain)


@torch.no_grad()
def test_banned_tokens_have_no_probability(demo_model, completions):
    banned = [3, 4, 5]
    one = completions[2]
    logp, entropy = PolicyModel(demo_model, banned, 1.0)(batch_of([one]))
    all_of = plain(demo_model, one).exp()
    all_of[:, banned] = 0.0
    allowed = all_of / all_of.sum(-1, keepdim=True)  # what is left, shared out
    chosen = allowed.gather(1, torch.tensor(one.ids)[:, None])[:, 0]
    torch.testing.assert_close(logp[0].exp(), chosen, atol=1e-6, rtol=1e-4)
    expected = -(allowed * allowed.clamp(min=1e-30).log()).sum(-1)
    torch.testing.assert_close(entropy[0], expected, atol=1e-5, rtol=1e-5)


def test_banned_tokens_leave_gradients_finite(demo_model, completions):
    *_, taken = gradients(demo_model, batch_of(completions), slices=1)
    assert all(torch.isfinite(g).all() for g in taken.values())


@torch.no_grad()
@pytest.mark.parametrize("slices", [1, 3])
def test_the_supervised_model_tells_which_tokens_are_the_most_likely(demo_model, completions, slices):
    batch = replace(batch_of(completions), slices=slices)
    logp, hits = SupervisedModel(demo_model, [], 1.0)(batch)
    torch.testing.assert_close(logp, PolicyModel(demo_model, [], 1.0)(batch)[0])
    for row, completion in enumerate(completions):
        best = plain(demo_model, completion).argmax(-1)  # (T,)
        expected = (best == torch.tensor(completion.ids)).float()
        assert hits[row].tolist() == [*expected.tolist(), *[0.0] * (hits.shape[1] - len(expected))]
    chosen = plain(demo_model, completions[1]).argmax(-1).tolist()
    assert SupervisedModel(demo_model, [], 1.0)(batch_of([replace(completions[1], ids=tuple(chosen))]))[1].sum() == 1


@torch.no_grad()
def test_the_image_matters(demo_model, completions):
    model = PolicyModel(demo_model, [], 1.0)
    seen, _ = model(batch_of(completions))
    second = completions[1].prompt
    blank = second.inputs | {"pixel_values": torch.full_like(second.inputs["pixel_values"], 0.5)}
    changed = [completions[0], replace(completions[1], prompt=replace(second, inputs=blank)), completions[2]]
    other, _ = model(batch_of(changed))
    assert (seen - other)[1].abs().max() > 1e-4
    torch.testing.assert_close(other[[0, 2]], seen[[0, 2]])  # and of that row only


@torch.no_grad()
def test_tokens_after_a_completion_token_do_not_change_it(demo_model, make_prompt, make_completion):
    prompt = make_prompt("cough", 1)
    model = PolicyModel(demo_model, [], 1.0)
    short, long = (make_completion(ids=ids, prompt=prompt) for ids in ((40, 41), (40, 41, 42, 43)))
    logp, _ = model(batch_of([short, long]))
    torch.testing.assert_close(logp[0, :2], logp[1, :2])


def test_a_model_without_the_two_parts_is_refused():
    with pytest.raises(ConfigError, match="Linear has no `model` and `lm_head`"):
        PolicyModel(nn.Linear(2, 2), [], 1.0)


def test_only_the_vision_encoder_is_frozen(demo_processor):
    from online_rl.demo.policy import make_model

    model = make_model(demo_processor, seed=0)
    frozen = freeze_vision(model)
    still = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert len(still) == frozen > 0
    assert all(name.startswith("model.vision_model.") for name in still)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in trained if name.startswith("model.")} == {"connector", "text_model"}
    assert not any("vision_model" in name for name in trained)


def test_dropout_of_the_policys_own_configuration_is_taken_out(demo_processor, completions):
    """With it, no two passes would have the same log-probabilities, and none those of the engine."""
    from online_rl.demo.policy import make_model

    model = make_model(demo_processor, seed=0)
    batch = batch_of(completions)
    with torch.no_grad():
        expected = PolicyModel(model.eval(), [], 1.0)(batch)[0]
        for layer in model.model.text_model.layers:
            layer.self_attn.attention_dropout = 0.5
        model.model.vision_model.encoder.layers[0].self_attn.dropout = 0.5
        model.model.text_model.dropout = dropout = nn.Dropout(0.5)
        model.model.text_model.embed_tokens.register_forward_hook(lambda _, inputs, out: dropout(out))
        noisy = PolicyModel(model.train(), [], 1.0)(batch)[0]
        assert (noisy - expected).abs().max() > 0.01, "or there would be nothing to take out"
        without_dropout(model)
        torch.testing.assert_close(PolicyModel(model.train(), [], 1.0)(batch)[0], expected, atol=1e-5, rtol=1e-5)


def test_a_projector_inside_the_vision_part_goes_on_learning():
    """Qwen-VL's merger lies in `visual`."""
    model = nn.ModuleDict(
        {"visual": nn.ModuleDict({"blocks": nn.Linear(2, 2), "merger": nn.Linear(2, 2)}), "lm_head": nn.Linear(2, 2)}
    )
    assert freeze_vision(model) == 2
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {
        "visual.blocks.weight",
        "visual.blocks.bias",
    }


def test_the_mergers_of_deeper_layers_go_on_learning_too():
    """Qwen3-VL takes features of several layers to the language model, each through a merger of its own."""
    assert not is_vision("model.visual.deepstack_merger_list.2.linear_fc1.weight")
    assert is_vision("model.visual.blocks.2.mlp.linear_fc1.weight")
    assert not is_vision("model.language_model.layers.2.mlp.up_proj.weight")
    assert is_vision("model.vision_model.encoder.layers.0.mlp.fc1.weight"), "SmolVLM"
    assert not is_vision("model.connector.modality_projection.proj.weight")


def test_a_model_without_a_vision_part_is_refused():
    with pytest.raises(ConfigError, match="Linear has no part named .*model.freeze_vision=false"):
        freeze_vision(nn.Linear(2, 2))


def test_image_tokens_are_banned_and_words_are_not(demo_model, demo_processor):
    tokenizer = demo_processor.tokenizer
    banned = banned_token_ids(demo_model.config, tokenizer)
    assert tokenizer.convert_ids_to_tokens(banned) == ["<image>", "<fake_token_around_image>", "<global-img>"]
    assert tokenizer.eos_token_id not in banned
    qwen = SimpleNamespace(image_token_id=900, video_token_id=901, vision_start_token_id=902, vision_end_token_id=None)
    assert {900, 901, 902} <= set(banned_token_ids(qwen, tokenizer))
    llava = SimpleNamespace(image_token_index=900, video_token_index=901)
    gemma = SimpleNamespace(image_token_id=900, boi_token_index=902, eoi_token_index=903)
    assert {900, 901} <= set(banned_token_ids(llava, tokenizer))
    assert {900, 902, 903} <= set(banned_token_ids(gemma, tokenizer))
