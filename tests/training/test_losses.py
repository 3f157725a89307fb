"""Losses against their formulas in float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.training.losses import detection_loss, focal_loss, huber_loss

LOGITS = np.float32([-40.0, -4.6, -1.0, 0.0, 0.5, 3.0, 40.0])


def _focal(logit: np.ndarray, target: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
    logit = logit.astype(np.float64)
    probability = 1 / (1 + np.exp(-logit))
    right = np.where(target == 1, probability, 1 - probability)
    weight = np.where(target == 1, alpha, 1 - alpha)
    entropy = np.logaddexp(0, np.where(target == 1, -logit, logit))
    return weight * (1 - right) ** gamma * entropy


@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 1.5), (0.25, 2.0), (0.5, 0.0)])
def test_focal_loss_is_equation_5(target: float, alpha: float, gamma: float) -> None:
    targets = np.full_like(LOGITS, target)
    np.testing.assert_allclose(
        np.asarray(focal_loss(LOGITS, targets, alpha=alpha, gamma=gamma)),
        _focal(LOGITS, targets, alpha, gamma),
        rtol=1e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_smoothing_moves_the_target_of_the_entropy_alone(target: float) -> None:
    logit = LOGITS.astype(np.float64)
    probability = 1 / (1 + np.exp(-logit))
    smooth = 0.9 * target + 0.05
    entropy = smooth * np.logaddexp(0, -logit) + (1 - smooth) * np.logaddexp(0, logit)
    weight = 0.25 if target else 0.75
    miss = 1 - probability if target else probability
    np.testing.assert_allclose(
        np.asarray(focal_loss(LOGITS, np.full_like(LOGITS, target), label_smoothing=0.1)),
        weight * miss**1.5 * entropy,
        rtol=1e-4,
        atol=1e-6,
    )


def test_huber_loss_is_quadratic_then_linear() -> None:
    errors = np.float32([0.0, 0.05, -0.1, 0.3])
    np.testing.assert_allclose(
        np.asarray(huber_loss(errors, np.zeros_like(errors), delta=0.1)),
        [0, 0.00125, 0.005, 0.005 + 0.1 * 0.2],
        rtol=1e-5,
        atol=1e-9,
    )


def test_losses_are_sums_over_the_number_of_positives_plus_one() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 6, 3)).astype(np.float32)
    codes, targets = rng.normal(size=(2, 2, 6, 4)).astype(np.float32)
    positive = np.array([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]], bool)
    labels = rng.integers(0, 3, (2, 6)).astype(np.int32)
    one_hot = np.eye(3)[labels] * positive[..., None]
    error = np.abs(codes - targets)
    huber = np.where(error <= 0.1, error**2 / 2, 0.1 * (error - 0.05))
    class_loss, box_loss = detection_loss(logits, codes, positive, labels, targets)
    assert float(class_loss) == pytest.approx(
        _focal(logits, one_hot, 0.25, 1.5).sum() / 4, rel=1e-4
    )
    assert float(box_loss) == pytest.approx((huber.mean(-1) * positive).sum() / 4, rel=1e-4)


def test_a_batch_without_objects_has_a_finite_loss() -> None:
    nothing = np.zeros((1, 5), bool)
    codes = np.ones((1, 5, 4), np.float32)
    class_loss, box_loss = detection_loss(
        np.zeros((1, 5, 2), np.float32), codes, nothing, np.full((1, 5), -1, np.int32), codes * 9
    )
    assert np.isfinite(float(class_loss))
    assert float(box_loss) == 0
