"""What a micro-batch teaches a model, and whether two ways of laying it out teach the same."""

from __future__ import annotations

from dataclasses import replace

import torch

from online_rl.policy.model import PolicyModel


def gradients(model, batch, slices=1):
    """Log-probabilities, entropy, and by parameter the gradient of a sum that weighs every token differently."""
    model, batch = PolicyModel(model, [3], 0.7), replace(batch, slices=slices)
    model.zero_grad()
    logp, entropy = model(batch)
    (logp * torch.arange(1.0, logp.numel() + 1).view_as(logp)).sum().backward()
    taken = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return logp.detach(), entropy.detach(), taken


def same_gradients(found, expected):
    """Up to float32's digits of the largest gradient: elements that cancel, whole tensors even, are no exacter."""
    assert found.keys() == expected.keys() and expected
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=5e-7 * largest, rtol=1e-4)
