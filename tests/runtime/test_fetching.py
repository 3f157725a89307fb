"""Pictures from servers: kind ones, odd ones and hostile ones."""

from __future__ import annotations

import base64
import io
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from edgedet.errors import InvalidInputError
from edgedet.runtime import fetching
from edgedet.runtime.addresses import check_address, is_address, shown, stem
from edgedet.runtime.fetching import fetch_picture
from edgedet.runtime.sources import resolve


def encoded(image=None, kind="PNG"):
    data = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8) if image is None else image).save(data, kind)
    return data.getvalue()


PICTURE = encoded()


class Server(ThreadingHTTPServer):
    """Answers on this machine; what was asked for is in `seen`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.seen = []
        self.over = threading.Event()
        self.elsewhere = ""

    def handle_error(self, request, client_address):
        """Clients here leave early; that is no news."""

    @property
    def port(self):
        return self.server_address[1]


class Answer(BaseHTTPRequestHandler):
    """What each path of the server does."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        getattr(self, self.path.strip("/").split("/")[0].split(".")[0], self.missing)()

    def send(self, data=b"", code=200, kind="image/png", **headers):
        self.send_response(code)
        if kind:
            self.send_header("Content-Type", kind)
        for name, value in {"Content-Length": len(data), **headers}.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def missing(self):
        self.send(code=404)

    def picture(self):
        self.send(PICTURE, kind="application/whatever")

    def page(self):
        self.send(b"<html>hello</html>" * 10, kind="text/html; charset=utf-8")

    def nothing(self):
        self.send()

    def film(self):
        self.send(b"\0\0\0\x20ftypisom" + bytes(100), kind="video/mp4")

    def untyped(self):
        self.send(b"\x1aE\xdf\xa3" + bytes(100), kind=None)

    def large(self):
        self.send(PICTURE, **{"Content-Length": 10**12})

    def short(self):
        self.send(PICTURE[:-20], **{"Content-Length": len(PICTURE)})

    def endless(self):
        self.send(PICTURE, **{"Content-Length": None})
        while not self.server.over.is_set():
            self.wfile.write(bytes(2**16))

    def trickle(self):
        self.send(PICTURE[:40], **{"Content-Length": len(PICTURE)})
        while not self.server.over.wait(0.02):
            self.wfile.write(b"\0")

    def headers_trickle(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: ")
        while not self.server.over.wait(0.02):
            self.wfile.write(b"x")

    def garbage(self):
        self.wfile.write(b"no answer at all\r\n\r\n")

    def silent(self):
        self.server.over.wait(5)

    def to_picture(self):
        self.send(code=302, Location="/picture.png")

    def to_file(self):
        self.send(code=302, Location="file:///etc/hostname")

    def to_ftp(self):
        self.send(code=301, Location="ftp://127.0.0.1/picture.png")

    def to_itself(self):
        self.send(code=307, Location=self.path)

    def to_elsewhere(self):
        self.send(code=302, Location=f"{self.server.elsewhere}/picture.png")


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["picture.png", "picture.png?size=1&x=a b", "to_picture"])
def test_a_picture_is_fetched(server, path):
    assert fetch_picture(f"http://127.0.0.1:{server.port}/{path}") == PICTURE
    assert server.seen[0][1]["User-Agent"].startswith("edgedet/")


@pytest.mark.parametrize("path", ["film.mp4", "untyped"])
def test_videos_are_left_to_those_who_read_them(server, path):
    assert fetch_picture(f"http://127.0.0.1:{server.port}/{path}") is None
    assert fetch_picture("rtsp://127.0.0.1:1/live") is None


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("page.html", r"page\.html is no picture: the server sends text/html; check"),
        ("nothing", "is no picture: the server sends nothing"),
        ("elsewhere.png", r"elsewhere\.png was refused by the server \(404 Not Found\)"),
        ("large", "is larger than 64 MiB; scale the picture down"),
        ("short", "broke off in the middle"),
        ("garbage", "gives an answer that can't be read"),
        ("to_file", "leads on to file:///etc/hostname, which is not read"),
        ("to_ftp", "leads on to ftp://127.0.0.1/picture.png, which is not read"),
        ("to_itself", "leads on more than 5 times"),
    ],
)
def test_other_answers_are_refused_in_one_sentence(server, path, message):
    with pytest.raises(InvalidInputError, match=message) as refusal:
        fetch_picture(f"http://127.0.0.1:{server.port}/{path}")
    assert "\n" not in str(refusal.value)


def test_an_endless_picture_ends_at_the_limit(server, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_BYTES", 2**20)
    with pytest.raises(InvalidInputError, match="is larger than 1 MiB"):
        fetch_picture(f"http://127.0.0.1:{server.port}/endless")


@pytest.mark.parametrize("path", ["silent", "headers_trickle", "trickle"])
def test_a_server_that_takes_its_time_is_left(server, monkeypatch, path):
    """The second and third never keep a socket waiting long, only the whole fetch: for ever."""
    monkeypatch.setattr(fetching, "PATIENCE", 0.2)
    monkeypatch.setattr(fetching, "LONGEST", 0.5)
    with pytest.raises(InvalidInputError, match=r"no answer within|is not done after") as refusal:
        fetch_picture(f"http://127.0.0.1:{server.port}/{path}")
    assert "\n" not in str(refusal.value)


def test_a_port_that_never_says_a_word_is_left(silent_port, monkeypatch):
    monkeypatch.setattr(fetching, "PATIENCE", 0.2)
    with pytest.raises(InvalidInputError, match=r"gives no answer within 0\.2 seconds"):
        fetch_picture(f"http://127.0.0.1:{silent_port}/picture.png")


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/a.png", "http://no.such.host.invalid/a.png"]
)
def test_hosts_that_are_not_there_are_named(server, address):
    with pytest.raises(InvalidInputError, match="can't be reached"):
        fetch_picture(address)


def test_a_password_goes_to_its_host_only_and_into_no_message(server):
    with Server() as other:
        thread = threading.Thread(target=other.serve_forever, args=(0.01,))
        thread.start()
        server.elsewhere = f"http://localhost:{other.port}"
        host = f"me:se%20cret@127.0.0.1:{server.port}"
        try:
            assert fetch_picture(f"http://{host}/to_elsewhere") == PICTURE
        finally:
            other.shutdown()
            thread.join()
    sent = base64.b64decode(server.seen[0][1]["Authorization"].partition(" ")[2])
    assert sent == b"me:se cret"
    assert "Authorization" not in other.seen[0][1]
    with pytest.raises(InvalidInputError) as refusal:
        fetch_picture(f"http://{host}/missing")
    assert "cret" not in str(refusal.value)


def test_no_thread_and_no_socket_is_left(server, monkeypatch):
    monkeypatch.setattr(fetching, "LONGEST", 0.3)
    before = threading.active_count()
    for path in ("picture", "page", "trickle"):
        with suppress(InvalidInputError):
            fetch_picture(f"http://127.0.0.1:{server.port}/{path}")
    server.over.set()
    for _ in itertools.repeat(None, 200):
        if threading.active_count() <= before:
            break
        time.sleep(0.01)
    assert threading.active_count() <= before
    assert not [one for one in threading.enumerate() if isinstance(one, threading.Timer)]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("file:///etc/passwd", "no address that edgedet reads"),
        ("ftp://example.org/a.png", "no address that edgedet reads"),
        ("data://text/plain", "no address that edgedet reads"),
        ("http://", "names no host"),
        ("http://[::1/a.png", "no valid address"),
        ("http://host:99999/a.png", "no valid address"),
    ],
)
def test_other_addresses_are_refused(address, message):
    assert is_address(address)
    for check in (check_address, resolve):
        with pytest.raises(InvalidInputError, match=message):
            check(address)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://example.org/photos/a%20cat.jpg?x=1", "a_cat"),
        ("rtsp://me:secret@camera.local:554/live", "live"),
        ("rtsp://camera.local", "camera_local"),
        ("http://example.org/../..%2f..%2fetc", "etc"),
        ("http://example.org/" + "n" * 500, "n" * 100),
    ],
)
def test_files_are_named_after_the_last_part(address, name):
    assert stem(address) == name
    assert "secret" not in shown(address)
