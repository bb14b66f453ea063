"""Decides which addresses may be called on a tenant's behalf: public unicast ones; never our own network."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_DENIED = tuple(
    ip_network(text)
    for text in (
        # IANA special-purpose registries. `is_global` alone is not enough: of 192.0.0.0/24, where clouds serve
        # metadata, Python 3.11 says that it is global.
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's host, seen from inside its machines only, in public address space
        # within 2000::/3, all that IPv6 has of public addresses
        "2001::/23", "2001:db8::/32",
        "2002::/16",  # 6to4: carries an IPv4 address
        "3fff::/20",
    )
)  # fmt: skip
_UNICAST = ip_network("2000::/3")


def may_call(text: str, *, loopback: bool = False) -> bool:
    """Whether `text` is an address (not a name) that may be called. `loopback` admits 127.0.0.1 and ::1 as well."""
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        return False
    if loopback and address in (IPv4Address("127.0.0.1"), IPv6Address("::1")):
        return True
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address not in _UNICAST):
        return False
    return address.is_global and not any(address in network for network in _DENIED)
