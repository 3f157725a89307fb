from typing import Any

import numpy.typing as npt

def letterbox(
    image: npt.NDArray[Any],
    out: npt.NDArray[Any],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    scale: float,
    zero_point: int,
) -> float: ...
