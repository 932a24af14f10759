"""KL estimators: by hand, in expectation, by their gradients; and the coefficient that adapts."""

import math

import pytest
import torch

from online_rl.algorithms.kl import k1_kl, k2_kl, k3_kl, kl_term
from online_rl.algorithms.kl_coefficient import KLCoefficient

pytestmark = pytest.mark.usefixtures("one_thread")

LOGITS = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)
REF = torch.log_softmax(torch.tensor([1.0, 0.5, -0.2, 0.1], dtype=torch.float64), 0)


def test_by_hand():
    # logp - ref = -ln 2, ln 2, 0. k2: 0.6931^2 / 2 = 0.24023. k3: 2 - 0.6931 - 1 = 0.30685; 0.5 + 0.6931 - 1 = 0.19315
    logp = torch.tensor([[-2.0, -1.0, -3.0]])
    ref = torch.tensor([[-2.0 + math.log(2), -1.0 - math.log(2), -3.0]])
    assert k1_kl(logp, ref)[0].tolist() == pytest.approx([-0.69315, 0.69315, 0.0], abs=1e-5)
    assert k2_kl(logp, ref)[0].tolist() == pytest.approx([0.24023, 0.24023, 0.0], abs=1e-5)
    assert k3_kl(logp, ref)[0].tolist() == pytest.approx([0.30685, 0.19315, 0.0], abs=1e-5)


@pytest.mark.parametrize("estimator", [k1_kl, k3_kl])
def test_k1_and_k3_are_unbiased(estimator):
    """E_policy[k] = KL(policy || ref_model), summed exactly over a small vocabulary."""
    policy = torch.log_softmax(LOGITS, 0)
    exact = (policy.exp() * (policy - REF)).sum()
    torch.testing.assert_close((policy.exp() * estimator(policy, REF)).sum(), exact)


@pytest.mark.parametrize("estimator, exact", [("k1", True), ("k2", True), ("k3", False)])
def test_the_mean_gradient_of_the_loss_term(estimator, exact):
    """Over the policy's own samples k1 with its ratio and k2 follow the gradient of the KL divergence; k3 does not."""
    logits = LOGITS.clone().requires_grad_()
    policy = torch.log_softmax(logits, 0)
    wanted = torch.autograd.grad((policy.exp() * (policy - REF)).sum(), logits, retain_graph=True)[0]
    term = kl_term(policy[None], policy[None].detach(), REF[None], estimator)[0]
    got = torch.autograd.grad((policy.exp().detach() * term).sum(), logits)[0]
    assert torch.allclose(got, wanted) == exact
    assert torch.dot(got, wanted) > 0


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_gradient_equals_finite_differences(random_batch, estimator):
    logp, old, ref, *_ = random_batch(4)
    assert torch.autograd.gradcheck(lambda x: kl_term(x, old, ref, estimator), logp.requires_grad_())


@pytest.mark.parametrize(
    "kl, factor",
    [
        (0.02, 1.0),
        (0.022, 1.01),  # 10 % over: 1 + 0.1 * 0.1
        (1.0, 1.02),  # far over: the error counts as 0.2
        (0.0, 0.98),
    ],
)
def test_the_coefficient_moves_towards_the_target(kl, factor):
    coefficient = KLCoefficient(0.05, target=0.02)
    coefficient.update(kl)
    assert coefficient.value == pytest.approx(0.05 * factor)


def test_without_a_target_it_stays():
    coefficient = KLCoefficient(0.05)
    coefficient.update(9.0)
    assert coefficient.value == 0.05
