"""Rewrite a trained Keras network into the same function with fewer operators.

Each step takes the network as a graph of operations and leaves its outputs as they were, but for
rounding: weights are folded in float64.
"""

from __future__ import annotations

import keras

from edgedet.converters.preparation.folding import (
    drop_regularizers,
    fold_normalizations,
    split_separable,
)
from edgedet.converters.preparation.fusion import absorb_fusion_weights, fix_fusion_weights
from edgedet.converters.preparation.network import read, write
from edgedet.converters.preparation.reordering import work_before_upsampling
from edgedet.converters.preparation.siblings import join_heads


def prepare_for_export(model: keras.Model) -> keras.Model:
    """Return a copy of `model` that computes the same outputs, for inference only.

    Normalizations are folded into convolutions, separable convolutions split, fusion weights made
    constants and multiplied into the convolutions around them, branches without weight cut, 1x1
    convolutions moved before up-sampling, and the two heads joined where their maps are small.

    Args:
        model: a functional network with a dict of outputs and known map sizes.
    """
    network = read(model)
    drop_regularizers(network)
    split_separable(network)
    fold_normalizations(network)
    fix_fusion_weights(network)
    work_before_upsampling(network)
    absorb_fusion_weights(network)
    join_heads(network)
    return write(network)
