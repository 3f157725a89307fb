"""Focal loss for the classes, Huber loss for the boxes."""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 1.5,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Sigmoid focal loss of every element (Lin et al. 2017, Eq. 5), not reduced.

    Args:
        logits: raw scores, any shape.
        targets: 0 or 1, same shape.
        alpha: weight of the positives; the negatives get 1 - alpha.
        gamma: how strongly easy examples are played down; 1.5 is EfficientDet's.
        label_smoothing: part by which the targets of the cross entropy are drawn towards 1/2.
    """
    smooth = targets * (1.0 - label_smoothing) + 0.5 * label_smoothing
    entropy = ops.relu(logits) - logits * smooth + ops.softplus(-ops.abs(logits))
    probability = ops.sigmoid(logits)
    miss = probability * (1 - targets) + (1 - probability) * targets
    # The power's gradient at zero is undefined for gamma < 2: keep the base off zero.
    return (alpha * targets + (1 - alpha) * (1 - targets)) * ops.power(miss + 1e-8, gamma) * entropy


def huber_loss(predicted: Tensor, target: Tensor, *, delta: float = 0.1) -> Tensor:
    """Huber loss of every element, not reduced: quadratic within `delta`, linear beyond."""
    error = ops.abs(predicted - target)
    inside = ops.minimum(error, delta)
    return 0.5 * inside * inside + delta * (error - inside)


def detection_loss(
    logits: Tensor,
    codes: Tensor,
    positive: Tensor,
    labels: Tensor,
    target_codes: Tensor,
    *,
    alpha: float = 0.25,
    gamma: float = 1.5,
    delta: float = 0.1,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Class and box loss of a batch, each summed and divided by the number of positive anchors.

    EfficientDet, section 5.1, and its published code: the count is that of the whole batch plus
    one; box loss is the mean over the four codes.

    Args:
        logits: [B, N, C].
        codes: [B, N, 4].
        positive: [B, N] bool.
        labels: [B, N] class indices where positive.
        target_codes: [B, N, 4].
        alpha: focal loss's weight of positives.
        gamma: focal loss's focus.
        delta: Huber loss's threshold.
        label_smoothing: part by which the targets of the cross entropy are drawn towards 1/2; which
            elements are positive, and how hard, goes by the labels as they are.
    """
    mask = ops.cast(positive, logits.dtype)
    count = ops.sum(mask) + 1.0
    targets = ops.one_hot(ops.where(positive, labels, -1), logits.shape[-1], dtype=logits.dtype)
    focal = focal_loss(logits, targets, alpha=alpha, gamma=gamma, label_smoothing=label_smoothing)
    class_loss = ops.sum(focal) / count
    errors = huber_loss(codes, target_codes, delta=delta)
    box_loss = ops.sum(errors * ops.expand_dims(mask, -1)) / (4.0 * count)
    return class_loss, box_loss
