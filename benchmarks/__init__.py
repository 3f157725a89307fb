"""Latency and memory of a detector, measured beside its engine."""
