"""Weights that others published, brought into our networks."""

from edgedet.models.importers.automl import import_automl
from edgedet.models.importers.effdet import import_effdet
from edgedet.models.importers.keras_applications import import_keras_applications
from edgedet.models.importers.model_garden import import_model_garden
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
    "import_automl",
    "import_effdet",
    "import_keras_applications",
    "import_model_garden",
    "keras_layout",
    "link",
    "pytorch_layout",
    "transfer",
]
