"""LiteRT interpreters for looking inside a model, and for running it as users do."""

from __future__ import annotations

from typing import Any


def observing_interpreter(model: bytes) -> Any:
    """An interpreter that keeps every intermediate tensor; its kernels are the plain ones.

    XNNPACK would fuse operators and hide what lies between them.
    """
    from ai_edge_litert import interpreter

    observing = interpreter.Interpreter(
        model_content=model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=(
            interpreter.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
        num_threads=2,
    )
    observing.allocate_tensors()
    return observing


def running_interpreter(model: bytes, threads: int = 1) -> Any:
    """An interpreter as the runtime makes it, XNNPACK included."""
    from ai_edge_litert import interpreter

    running = interpreter.Interpreter(model_content=model, num_threads=threads)
    running.allocate_tensors()
    return running
