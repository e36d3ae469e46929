"""The address a request comes from: the peer's, or the one that a trusted proxy gives. Pure.

In a chain of proxies the right-most address that is no trusted proxy counts: addresses left of it may be forged.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LONGEST: Final = 4000  # characters of a header
HOPS: Final = 32
FOR: Final = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;"\s]+)\s*(?=;|$)', re.IGNORECASE)
PROTO: Final = re.compile(r'(?:^|;)\s*proto\s*=\s*"?(https?)"?\s*(?=;|$)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Origin:
    """The address of a request, as limits count it.

    `group` is an IPv4 address, an IPv6 network of 64 bits, or the peer's text where that is no address. `scheme` is the
    client's, where a trusted proxy says so. `unnamed` is the peer, where it sent forwarded headers and is no trusted
    proxy.
    """

    group: str
    scheme: str | None = None
    unnamed: str | None = None


class Proxies:
    """The proxies that are trusted to say where requests come from, in the one header that they set."""

    def __init__(self, networks: Sequence[str], header: str = "x-forwarded-for") -> None:
        """Raise ValueError where a text is no network."""
        self._networks = [_network(each) for each in networks]
        self._header = header.encode()

    def trusts(self, address: str) -> bool:
        """Return whether an address is a trusted proxy's."""
        parsed = parse(address)
        return parsed is not None and self._trusted(parsed)

    def origin(self, peer: str | None, headers: Sequence[tuple[bytes, bytes]]) -> Origin:
        """Return a request's origin. Malformed headers are ignored: then it is the peer, or the last readable proxy."""
        address = parse(peer or "")
        if address is None:
            return Origin(peer or "unknown")
        values = [value for name, value in headers if name in (b"x-forwarded-for", b"forwarded")]
        if not self._trusted(address):
            return Origin(group(address), unnamed=str(address) if values else None)
        found = address
        for hop in self._chain(headers):
            nearer = parse(hop)
            if nearer is None:
                break
            found = nearer
            if not self._trusted(found):
                break
        return Origin(group(found), self._scheme(headers))

    def _trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _chain(self, headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
        """Return the addresses in the header, the nearest first."""
        text = _joined(headers, self._header)
        hops = [hop.strip() for hop in text.split(",")] if text else []
        if self._header == b"forwarded":
            hops = [found[1].strip('"') if (found := FOR.search(hop)) else "" for hop in hops]
        return hops[: -HOPS - 1 : -1]

    def _scheme(self, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        if self._header == b"forwarded":
            found = PROTO.search(_joined(headers, self._header).rpartition(",")[2])
            return found[1].lower() if found else None
        said = _joined(headers, b"x-forwarded-proto").rpartition(",")[2].strip().lower()
        return said if said in ("http", "https") else None


def parse(text: str) -> Address | None:
    """Return an address from a text that may have a port, brackets and a zone; None for none.

    An IPv4 address that is mapped into IPv6 is returned as IPv4.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def group(address: Address) -> str:
    """Return what limits count an address by: an IPv6 client has 2^64 addresses, so the first 64 bits count."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((int(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return network


def _joined(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str:
    """Return all lines of a header as one text; of a very long one the end."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == wanted)[-LONGEST:]
