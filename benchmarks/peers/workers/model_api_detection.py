"""OpenVINO's model_api on an `.xml` file that ends in boxes."""

from importlib.metadata import version
from typing import Any

from serving import serve, settings

given = settings()

from model_api.adapters import OpenvinoAdapter, create_core  # noqa: E402
from model_api.models import DetectionModel  # noqa: E402

adapter = OpenvinoAdapter(
    create_core(),
    given["model"],
    device="CPU",
    max_num_requests=1,
    plugin_config={"INFERENCE_NUM_THREADS": given["threads"], "NUM_STREAMS": 1},
)
detector = DetectionModel.create_model(
    adapter, configuration={"confidence_threshold": given["conf"]}
)


def detect(picture: Any) -> int:
    """From the array to model_api's result."""
    return len(detector(picture).scores)


serve(given, detect, {"version": version("openvino-model-api")})
