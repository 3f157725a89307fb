"""Which instruction set the kernels use."""

from __future__ import annotations

import os

from edgedet import _native
from edgedet.errors import InvalidInputError


def isa() -> str:
    """Name of the instruction set that the kernels use: avx512, avx2, sse2, neon or scalar.

    It is the best that this machine runs, or the one that the environment variable
    EDGEDET_FORCE_ISA names. Results are bit-identical on all of them.
    """
    return _native.isa()


def _check_forced_isa() -> None:
    forced = os.environ.get("EDGEDET_FORCE_ISA")
    if forced is not None and forced not in _native.isas():
        raise InvalidInputError(
            f"EDGEDET_FORCE_ISA is {forced!r}, but this machine runs "
            f"{', '.join(_native.isas())}; set it to one of them or unset it."
        )


_check_forced_isa()
