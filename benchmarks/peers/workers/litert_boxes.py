"""LiteRT on a file that ends in TFLite_Detection_PostProcess; pictures are prepared as ours."""

from typing import Any

from serving import serve, settings

given = settings()

from ai_edge_litert.interpreter import Interpreter  # noqa: E402

from edgedet import ops  # noqa: E402
from edgedet.archive import read_model  # noqa: E402

spec, model = read_model(given["model"])
interpreter = Interpreter(model_content=model, num_threads=given["threads"])
interpreter.allocate_tensors()
entry = interpreter.get_input_details()[0]
size = (spec.input.height, spec.input.width)
scale, zero_point = entry["quantization"]
shown = {"dtype": entry["dtype"], "mean": spec.input.mean, "std": spec.input.std}
shown |= {"scale": scale or 1.0, "zero_point": zero_point}
places = [detail["index"] for detail in interpreter.get_output_details()]


def detect(picture: Any) -> int:
    """Letterbox into the input, run, read the four outputs."""
    ops.letterbox(picture, size, out=interpreter.tensor(entry["index"])(), **shown)
    interpreter.invoke()
    _, _, scores, count = (interpreter.get_tensor(place) for place in places)
    return int((scores[0, : int(count[0])] > given["conf"]).sum())


serve(given, detect)
