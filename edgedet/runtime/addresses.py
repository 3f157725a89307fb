"""The text of addresses: which are read, and what to call them."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit, urlunsplit

from edgedet.errors import InvalidInputError

PICTURE_SCHEMES = ("http", "https")
STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp")


def is_address(text: str) -> bool:
    """Whether `text` has the form of an address, as `https://example.org/cat.jpg` has."""
    return re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE) is not None


def shown(address: str) -> str:
    """The address without the user and the password it may contain."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def check_address(address: str) -> None:
    """Raise `InvalidInputError` for an address that is not read, a `file://` for example."""
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise InvalidInputError(f"{address} is no valid address; check it.") from None
    schemes = (*PICTURE_SCHEMES, *STREAM_SCHEMES)
    if parts.scheme.lower() not in schemes:
        raise InvalidInputError(
            f"{shown(address)} is no address that edgedet reads: use http, https or rtsp, and the "
            "plain path for a file."
        )
    if not usable:
        raise InvalidInputError(f"{shown(address)} names no host; check the address.")


def stem(address: str) -> str:
    """What to call a file made from the address: its last part without the suffix."""
    parts = urlsplit(address)
    last = unquote(parts.path).rstrip("/").rpartition("/")[2].rpartition(".")
    name = re.sub(r"[^\w-]+", "_", last[0] or last[2] or parts.hostname or "")
    return name[:100].strip("_") or "stream"
