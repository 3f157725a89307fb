"""A camera in the network, as its makers have them: one JPEG after the other for ever."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


class _Answer(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        while not self.server.over.is_set():
            for data in self.server.pictures:
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                self.server.over.wait(0.01)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pictures: Sequence[bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.pictures = pictures
        self.over = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients here leave early; that is no news."""


@contextmanager
def network_camera(images: Sequence[npt.NDArray[np.uint8]]) -> Iterator[str]:
    """Runs a camera that shows `images` over and over; gives its address."""
    pictures = []
    for image in images:
        data = io.BytesIO()
        Image.fromarray(image).save(data, "JPEG", quality=95, subsampling=0)
        pictures.append(data.getvalue())
    with _Server(pictures) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/video"
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
