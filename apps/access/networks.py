"""Client networks and addresses. Pure."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network


def in_networks(address: str, networks: Sequence[str]) -> bool:
    """Whether an address lies in one of the networks. IPv4-mapped IPv6 is the IPv4 address; what is none, nowhere."""
    parsed = parse_address(address)
    return parsed is not None and any(parsed in network for network in map(_network, networks) if network is not None)


def is_network(text: str) -> bool:
    """Whether it is a network, in which an address can lie."""
    return _network(text) is not None


@lru_cache(maxsize=4096)
def _network(text: str) -> IPv4Network | IPv6Network | None:
    """A network as a value; None, in which nothing lies, for text that is none (somebody wrote it by SQL).

    IPv4-mapped IPv6 is made IPv4, as addresses are.
    """
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return IPv4Network((mapped, network.prefixlen - 96)) if mapped is not None else network


@lru_cache(maxsize=4096)
def parse_address(address: str) -> IPv4Address | IPv6Address | None:
    """An address as a value; None for text that is none.

    IPv4-mapped IPv6 is made IPv4, and the zone that Java adds to link-local addresses is dropped.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
