"""What the taps of a kernel see on average, against a kernel moved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.quantization.bias_correction import _mean_taps


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilations"),
    [
        ((1, 1), (1, 1), (1, 1)),
        ((3, 3), (1, 1), (1, 1)),
        ((3, 3), (2, 2), (1, 1)),
        ((2, 2), (2, 2), (1, 1)),
        ((5, 3), (2, 2), (1, 1)),
        ((3, 3), (1, 1), (2, 2)),
    ],
)
def test_mean_taps(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], same: bool
) -> None:
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 1, (7, 8, 2))
    # A filter for each tap passes on what that tap sees.
    count = kernel[0] * kernel[1]
    filters = np.tile(np.eye(count).reshape(*kernel, 1, count), (1, 1, 2, 1))
    seen = tf.nn.depthwise_conv2d(
        mean[None],
        filters,
        (1, *strides, 1),
        "SAME" if same else "VALID",
        dilations=dilations,
    ).numpy()[0]
    found = _mean_taps(mean, kernel, seen.shape[:2], strides, dilations, same)
    expected = seen.mean(axis=(0, 1)).reshape(2, *kernel).transpose(1, 2, 0)
    np.testing.assert_allclose(found, expected, atol=1e-12)
