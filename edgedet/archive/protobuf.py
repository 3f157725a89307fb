"""The wire format of Protocol Buffers, as far as reading and appending fields needs it.

Source: the encoding page of Protocol Buffers' documentation. An `.onnx` file is one message; this
lets edgedet read what it needs of it without the package `onnx`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: the field's number.
        value: an integer, or the bytes of a string or a message inside.
        start: where the field begins in the message.
        end: where it ends.
    """

    number: int
    value: int | memoryview
    start: int
    end: int


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of a message, in order.

    Raises:
        ValueError: the bytes are no message.
    """
    place, size = 0, len(message)
    while place < size:
        start = place
        key, place = _varint(message, place)
        kind = key & 7
        value: int | memoryview
        if kind == _VARINT:
            value, place = _varint(message, place)
        elif kind in (_LENGTH, _FIXED32, _FIXED64):
            if kind == _LENGTH:
                length, place = _varint(message, place)
            else:
                length = 4 if kind == _FIXED32 else 8
            if length > size - place:
                raise ValueError("a field is longer than its message")
            value = message[place : place + length]
            place += length
        else:
            raise ValueError(f"wire type {kind}")
        yield Field(key >> 3, value, start, place)


def length_delimited(number: int, payload: bytes) -> bytes:
    """A field that holds a string or a message."""
    return _encoded(number << 3 | _LENGTH) + _encoded(len(payload)) + payload


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for index in range(_MAX_VARINT_BYTES):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place
    raise ValueError("a number has no end")


def _encoded(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
