"""The hosts of a run find each other before JAX starts: a missing one is told of by name.

JAX's own service ends the whole process, without an exception, when a host does not come or a port
is taken. A roll call on the same port beforehand turns both into a sentence on every host.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from edgedet.errors import InvalidInputError

_LONGEST = 4096
"""Bytes of a message; whatever sends more is no host of ours."""
_ATTEMPT = 5.0
"""Seconds that a connection may take, and its first message."""


def parse_address(coordinator: str) -> tuple[str, int]:
    """Host and port of `host:port`, the host in brackets if it is an IPv6 address.

    Raises:
        InvalidInputError: the text is no such address.
    """
    host, colon, port = coordinator.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    named = bare and (bare == host) == (":" not in bare)
    if not (colon and named and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise InvalidInputError(
            f"{coordinator!r} is no address of a coordinator: write the first host's name or "
            "address and a free port of it, as in node0:29500."
        )
    return bare, int(port)


def call_roll(coordinator: str, num_hosts: int, host_id: int, *, timeout: float) -> None:
    """Return once all hosts are there; every host must call this.

    Args:
        coordinator: `host:port` of host 0.
        num_hosts: how many hosts take part.
        host_id: this one, from 0.
        timeout: seconds to wait for the others.

    Raises:
        InvalidInputError: the others did not come in time, the port is taken, or the hosts
            disagree about who they are.
    """
    address = parse_address(coordinator)
    deadline = time.monotonic() + timeout
    if host_id == 0:
        _gather(address, num_hosts, deadline, timeout)
    else:
        _report(address, num_hosts, host_id, deadline, timeout)


def _gather(address: tuple[str, int], num_hosts: int, deadline: float, timeout: float) -> None:
    present: dict[int, socket.socket] = {}
    fault = ""
    with _listening(address[1]) as server:
        try:
            while len(present) < num_hosts - 1 and not fault:
                server.settimeout(max(0.001, deadline - time.monotonic()))
                try:
                    connection = server.accept()[0]
                except TimeoutError:
                    absent = sorted(set(range(1, num_hosts)) - present.keys())
                    fault = (
                        f"Of {num_hosts} hosts, {_listed(absent)} did not come within "
                        f"{timeout:g} s: start the same command there with "
                        f"--host-id {absent[0]} and this host's address."
                    )
                    break
                connection.settimeout(_ATTEMPT)
                hello = _received(connection)
                if hello is None or "host_id" not in hello:
                    connection.close()  # a port scanner, or a host that gave up
                    continue
                fault = _disagreement(hello, num_hosts, present)
                present[len(present) + num_hosts if fault else hello["host_id"]] = connection
            for connection in present.values():
                _send(connection, {"fault": fault})
        finally:
            for connection in present.values():
                connection.close()
    if fault:
        raise InvalidInputError(fault)


def _disagreement(hello: dict[str, Any], num_hosts: int, present: dict[int, Any]) -> str:
    if hello["num_hosts"] != num_hosts:
        return (
            f"Host {hello['host_id']} was started with --num-hosts {hello['num_hosts']}, host 0 "
            f"with {num_hosts}: start all with the same number."
        )
    if hello["host_id"] in present:
        return f"Two hosts were started with --host-id {hello['host_id']}: give each its own."
    return ""


def _report(
    address: tuple[str, int], num_hosts: int, host_id: int, deadline: float, timeout: float
) -> None:
    told: dict[str, Any] | None = None
    reason = "no connection"
    while told is None:
        left = deadline - time.monotonic()
        if left <= 0:
            host, port = address
            raise InvalidInputError(
                f"The coordinator {host}:{port} did not answer within {timeout:g} s ({reason}): "
                "start host 0 there, and see that this host can reach the port."
            )
        try:
            with socket.create_connection(address, timeout=min(left, _ATTEMPT)) as connection:
                _send(connection, {"host_id": host_id, "num_hosts": num_hosts})
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                told = _received(connection)
                reason = "not all hosts came" if told is None else reason
        except OSError as error:
            reason = (error.strerror or str(error) or "no connection").lower()
        if told is None:
            time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
    if told["fault"]:
        raise InvalidInputError(told["fault"])


def _listening(port: int) -> socket.socket:
    # On every address, as JAX's service will: `coordinator` is how the others reach this host.
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(
            ("", port), family=family, dualstack_ipv6=both, backlog=128, reuse_port=False
        )
    except OSError as error:
        raise InvalidInputError(
            f"Host 0 can't listen on port {port} ({(error.strerror or str(error)).lower()}): "
            "choose another for --coordinator, on all hosts."
        ) from None


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return  # whoever is gone will call again, or told why itself


def _received(connection: socket.socket) -> dict[str, Any] | None:
    """The message of the other side; None if it went away or speaks otherwise."""
    text = b""
    try:
        while not text.endswith(b"\n") and len(text) < _LONGEST:
            part = connection.recv(_LONGEST)
            if not part:
                return None
            text += part
        message = json.loads(text)
    except (OSError, ValueError):
        return None
    if not isinstance(message, dict):
        return None
    host_id, num_hosts = message.get("host_id"), message.get("num_hosts")
    is_hello = type(host_id) is int and type(num_hosts) is int and 0 < host_id < num_hosts
    return message if is_hello or isinstance(message.get("fault"), str) else None


def _listed(hosts: list[int]) -> str:
    shown = ", ".join(str(host) for host in hosts[:8]) + (" ..." if len(hosts) > 8 else "")
    return f"host {shown}" if len(hosts) == 1 else f"hosts {shown}"
