"""Weights that others published, brought into our networks."""

from edgedet.models.importers.keras_applications import import_keras_applications
from edgedet.models.importers.transfer import (
    Link,
    TransferReport,
    keras_layout,
    link,
    pytorch_layout,
    transfer,
)

__all__ = [
    "Link",
    "TransferReport",
    "import_keras_applications",
    "keras_layout",
    "link",
    "pytorch_layout",
    "transfer",
]
