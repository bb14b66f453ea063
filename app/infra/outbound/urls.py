"""Decides which URLs a tenant may name: https on port 443, a host that looks public. Who answers is checked later.

The check at registration is a courtesy: a name can point anywhere an hour later, so `client` checks each connection.
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from app.infra.outbound.addresses import may_call
from app.kernel.errors import DomainError, invalid

MAX_URL = 2048
_ALLOWED = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+", re.ASCII)
_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))+", re.ASCII)
_LOCAL = re.compile(r"(^|\.)(localhost|local|localdomain|internal|intranet|lan|home|corp|arpa|onion|test|invalid)$")


def check_url(url: str, *, loopback: bool = False, param: str = "url") -> str:
    """`url` when it may be called. Raises `invalid_url`. `loopback` admits http and any port on 127.0.0.1 and ::1."""
    if len(url) > MAX_URL or _ALLOWED.fullmatch(url) is None:
        raise _refused(f"must have at most {MAX_URL} characters, all of them ASCII; encode others", param)
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise _refused("is not a URL", param) from None
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _refused("must have neither user, password nor fragment", param)
    if loopback and host in ("127.0.0.1", "::1") and parts.scheme in ("http", "https"):
        return url
    if parts.scheme != "https" or port not in (None, 443):
        raise _refused("must start with https:// and use port 443", param)
    if not _is_public(host):
        raise _refused("must name a public host", param)
    return url


def _is_public(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        last = host.rpartition(".")[2]  # a number here makes the whole an IPv4 address to some resolvers
        return bool(_NAME.fullmatch(host) and not _LOCAL.search(host) and not re.fullmatch(r"(0x[0-9a-f]*|\d+)", last))
    return may_call(host)


def _refused(why: str, param: str) -> DomainError:
    return invalid("invalid_url", f"{param} {why}.", param=param)
