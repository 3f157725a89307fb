"""The classes of COCO, whose ids have gaps, and the order that published detectors have them in."""

from __future__ import annotations

_NAMES = (
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, "
    "fire hydrant, , stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, "
    "bear, zebra, giraffe, , backpack, umbrella, , , handbag, tie, suitcase, frisbee, skis, "
    "snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, "
    "tennis racket, bottle, , wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, "
    "orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, , "
    "dining table, , , toilet, , tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, "
    "toaster, sink, refrigerator, , book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
)

COCO = {identity: name for identity, name in enumerate(_NAMES.split(", "), start=1) if name}
"""The 80 classes' names by their ids, 1 to 90."""


def published_labels(count: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Labels and category ids of a published detector with `count` class logits.

    80 are COCO's classes; 90 stand for the ids 1 to 90 (google/automl, effdet) and 91 for 0 to 90
    (the Model Garden), of which no picture shows those without a name. Others are numbered.
    """
    if count == len(COCO):
        return tuple(COCO.values()), tuple(COCO)
    first = {90: 1, 91: 0}.get(count)
    if first is None:
        return tuple(f"class {number}" for number in range(1, count + 1)), tuple(
            range(1, count + 1)
        )
    ids = tuple(range(first, 91))
    return tuple(COCO.get(identity, f"unused {identity}") for identity in ids), ids
