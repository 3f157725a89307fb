"""COCO metrics and reports of a detector on a dataset."""
