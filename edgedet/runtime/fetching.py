"""Pictures behind http and https addresses, fetched within limits of time and size."""

from __future__ import annotations

import base64
import http.client
import re
import socket
import string
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import edgedet
from edgedet.errors import InvalidInputError
from edgedet.runtime.addresses import PICTURE_SCHEMES, shown
from edgedet.runtime.signatures import HEAD_BYTES, MOST_BYTES, is_picture

# Seconds without an answer or without further data; seconds that a whole picture may take.
PATIENCE = 10.0
LONGEST = 60.0

_REDIRECTIONS = (301, 302, 303, 307, 308)
_MOST_REDIRECTIONS = 5
# What servers call videos, camera streams and playlists of them. Many call everything they don't
# know an octet-stream.
_VIDEO_TYPE = re.compile(
    r"video/|multipart/x-mixed-replace|application/(octet-stream|ogg|mp4|dash\+xml|"
    r"(x-|vnd\.apple\.)mpegurl)|audio/(x-)?mpegurl|binary/octet-stream|$"
)


def fetch_picture(address: str) -> bytes | None:
    """The encoded picture behind an http or https address; None where there is a video.

    A picture is known by its first bytes, a video by the type that the server states. Proxies are
    those of the environment. Redirections are followed to http and https only.

    Raises:
        InvalidInputError: no connection, no answer in `PATIENCE` seconds, an error of the server,
            neither picture nor video, more than `MOST_BYTES`, or not done in `LONGEST` seconds.
    """
    if urlsplit(address).scheme.lower() not in PICTURE_SCHEMES:
        return None
    name = shown(address)
    with _limited(name) as connections, _open(address, _opener(connections)) as response:
        stated = response.headers.get("Content-Length", "")
        data = _read(response, HEAD_BYTES, bytearray())
        if not is_picture(data):
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if data and _VIDEO_TYPE.match(kind):
                return None
            raise InvalidInputError(
                f"{name} is no picture: the server sends {kind if data else 'nothing'}; "
                "check the address."
            )
        if not stated.isdecimal() or int(stated) <= MOST_BYTES:
            _read(response, MOST_BYTES + 1, data)
        if len(data) > MOST_BYTES or (stated.isdecimal() and int(stated) > MOST_BYTES):
            raise InvalidInputError(
                f"{name} is larger than {MOST_BYTES // 2**20} MiB; scale the picture down, or "
                "download it and name the file."
            )
        if stated.isdecimal() and len(data) < int(stated):
            raise InvalidInputError(f"{name} broke off in the middle; try again.")
    return bytes(data)


def _read(response: Any, size: int, data: bytearray) -> bytearray:
    """Read on until there are `size` bytes, or no more."""
    while len(data) < size:
        # One answer of the socket at a time: a trickle must not hide from the clock.
        chunk = response.read1(min(size - len(data), 2**16))
        if not chunk:
            break
        data += chunk
    return data


class _Connections:
    """The sockets of one fetch, which are shut when its time is over."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.expired = False

    def add(self, opened: socket.socket) -> None:
        with self._lock:
            self._sockets.append(opened)
            if self.expired:
                raise TimeoutError

    def expire(self) -> None:
        with self._lock:
            self.expired = True
            for opened in self._sockets:
                with suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)


@contextmanager
def _limited(name: str) -> Iterator[_Connections]:
    """Bounds a fetch by `LONGEST`, and turns its failures into a sentence about `name`.

    The timeout of a socket begins anew with each byte, also within the headers.
    """
    connections = _Connections()
    timer = threading.Timer(LONGEST, connections.expire)
    timer.daemon = True
    started = time.monotonic()
    timer.start()
    try:
        yield connections
        if connections.expired:
            raise TimeoutError
    except Exception as error:
        # A shut connection may look like any other fault.
        if isinstance(error, InvalidInputError) and not connections.expired:
            raise
        if connections.expired:
            sentence = f"is not done after {LONGEST:g} seconds; download it and name the file."
        else:
            waited = time.monotonic() - started >= PATIENCE
            sentence = _explanation(error, waited)
        raise InvalidInputError(f"{name} {sentence}") from None
    finally:
        timer.cancel()


def _explanation(error: Exception, waited: bool) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"was refused by the server ({error.code} {error.reason}); check the address."
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError) or waited:
        return f"gives no answer within {PATIENCE:g} seconds; check the address and the network."
    if isinstance(error, (urllib.error.URLError, OSError)):
        detail = getattr(reason, "strerror", None) or str(reason)
        return f"can't be reached ({detail}); check the address and the network."
    # http.client raises what a broken answer leads it to.
    detail = " ".join(str(error).split())[:100] or type(error).__name__
    return f"gives an answer that can't be read ({detail}); check the address."


def _open(address: str, opener: urllib.request.OpenerDirector) -> Any:
    """The response to a request for the address, or for the one that it leads to.

    urllib's own redirection reads the whole of the page that redirects, however long that is.
    """
    place = address
    for _ in range(_MOST_REDIRECTIONS + 1):
        try:
            return opener.open(_request(place), timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            target = error.headers.get("Location")
            if error.code not in _REDIRECTIONS or target is None:
                raise
            error.close()
        target = urljoin(place, quote(target, safe=string.punctuation))
        if urlsplit(target).scheme.lower() not in PICTURE_SCHEMES:
            raise InvalidInputError(
                f"{shown(address)} leads on to {shown(target)[:200]}, which is not read; only http "
                "and https are."
            )
        place = target
    raise InvalidInputError(
        f"{shown(address)} leads on more than {_MOST_REDIRECTIONS} times; use the final address."
    )


def _request(address: str) -> urllib.request.Request:
    parts = urlsplit(address)
    request = urllib.request.Request(quote(shown(address), safe=string.punctuation))
    request.add_header("User-Agent", f"edgedet/{edgedet.__version__}")
    request.add_header("Accept-Encoding", "identity")
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        coded = base64.b64encode(user.encode()).decode()
        request.add_header("Authorization", f"Basic {coded}")
    return request


def _opener(connections: _Connections) -> urllib.request.OpenerDirector:
    """What opens http and https, and unlike urllib's usual one nothing else."""

    class Plain(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self.sock)

    class Secure(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self.sock)

    class PlainHandler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Plain, request)

    class SecureHandler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Secure, request)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        PlainHandler(),
        SecureHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
