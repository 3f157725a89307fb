"""Inference engines behind one small interface, each imported on demand."""
