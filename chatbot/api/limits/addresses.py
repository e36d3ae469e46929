"""The address a request comes from: the peer's, or what a proxy that is named in the settings says. Pure.

Of a chain of proxies the right-most address that is no trusted proxy counts: what stands left of it may be made up.
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
    """`group` is what limits count by: an IPv4 address, an IPv6 network of 64 bits, or what is no address as it is.

    `scheme` is what the client used, where a trusted proxy says so. `unnamed` is the peer, where it sent forwarded
    headers and is no trusted proxy.
    """

    group: str
    scheme: str | None = None
    unnamed: str | None = None


class Proxies:
    """Those that are trusted to say where requests come from, in the one header that they set."""

    def __init__(self, networks: Sequence[str], header: str = "x-forwarded-for") -> None:
        """Raises ValueError where a network is none."""
        self._networks = [_network(each) for each in networks]
        self._header = header.encode()

    def trusts(self, address: str) -> bool:
        parsed = parse(address)
        return parsed is not None and self._trusted(parsed)

    def origin(self, peer: str | None, headers: Sequence[tuple[bytes, bytes]]) -> Origin:
        """Malformed headers are ignored: then it is the peer, or the last proxy that can be made out."""
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
        """Nearest first."""
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
    """An address, with or without port, brackets and zone; IPv4 where it is that mapped into IPv6."""
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
    """IPv6 clients have 2^64 addresses each, so the first 64 bits count."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def _network(text: str) -> Network:
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((int(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return network


def _joined(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> str:
    """All lines of a header as one; of a very long one the end."""
    return ",".join(value.decode("latin-1") for name, value in headers if name == wanted)[-LONGEST:]
