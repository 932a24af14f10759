"""Addresses of this machine and of private networks, to which report text may go unasked; and free ports."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

_URL = re.compile(r"(?i)\s*[a-z][a-z0-9+.-]*://")
_OWN_NAMES = (".local", ".internal", ".localhost", ".lan", ".home.arpa")


def urls(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every URL inside a judge's arguments, with its dotted key; `file://` names no host and is left out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from urls(inner, f"{key}.{name}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from urls(inner, f"{key}[{position}]")
    elif isinstance(value, str) and _URL.match(value) and not value.lower().lstrip().startswith("file:"):
        yield key, value


def addresses_of(judge: Any) -> list[str]:
    """Every URL that a judge names in its attributes or as its `addresses`, those of judges that it holds as well.

    Wrappers such as length control hold a judge. A client's own address cannot be seen from outside, so a
    judge that has one lists it in `addresses`.
    """
    seen: list[Any] = []
    found: list[str] = []
    waiting = [judge]
    while waiting:
        one = waiting.pop(0)
        if any(one is other for other in seen):
            continue
        seen.append(one)
        own = dict(getattr(one, "__dict__", {}))
        found += [url for _, url in urls([own, getattr(one, "addresses", None)])]
        held = [member for value in own.values() for member in _members(value)]
        waiting += [member for member in held if callable(getattr(member, "score", None))]
    return list(dict.fromkeys(found))


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, (list, tuple)) else [value]


def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def host_of(url: str) -> str:
    """The host that a client of `url` connects to; "" if it cannot be read."""
    try:
        return urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""


def is_private(host: str) -> bool:
    """True for this machine and for private networks: by address, by name, or by what a name resolves to.

    A name without a dot is a machine of the own network. A name that cannot be resolved is not private.
    """
    if not host:
        return False
    address = _address(host)
    if address is not None:
        return _is_private_address(address)
    if host == "localhost" or "." not in host or host.endswith(_OWN_NAMES):
        return True
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(_is_private_address(ipaddress.ip_address(a.partition("%")[0])) for a in found)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """`host` as an address, also in the short spellings that sockets take (2130706433, 0x7f.1)."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return None


def _is_private_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_private  # loopback and link-local included
