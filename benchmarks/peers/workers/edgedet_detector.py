"""`edgedet.Detector` on a file of any format."""

from serving import serve, settings

given = settings()

import edgedet  # noqa: E402  (after the process is confined to its cores)

detector = edgedet.Detector(given["model"], threads=given["threads"])
serve(
    given,
    lambda picture: len(detector.detect(picture, conf=given["conf"], iou=given["iou"])),
    {"precision": detector.precision, "version": edgedet.__version__},
)
