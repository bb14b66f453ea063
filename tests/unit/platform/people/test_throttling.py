"""The plan of an attempt: whom it counts against, and that nobody elsewhere can use up an owner's attempts."""

from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from app.platform.people.domain import Plan, network_of, plan_attempt, plan_hash, plan_mail

ACCOUNTS = st.text(min_size=1, max_size=30)
IPS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
KINDS: st.SearchStrategy[Literal["password", "code"]] = st.sampled_from(["password", "code"])


def keys(plan: Plan) -> set[tuple[str, ...]]:
    optional = [rule for rule in (plan.account, plan.slow) if rule is not None]
    return {rule.key for rule in (*plan.rules, *optional)}


@given(KINDS, ACCOUNTS, IPS, IPS, st.text(min_size=1))
def test_a_known_device_shares_no_counter_with_anybody_without_it(
    what: str, account: str, here: str, there: str, device: str
) -> None:
    own = plan_attempt(what, account, ip=here, device=device)
    stranger = plan_attempt(what, account, ip=there, device=None)
    assert not keys(own) & keys(stranger)
    assert own == plan_attempt(what, account, ip=there, device=device), "wherever it is"


@given(KINDS, ACCOUNTS, ACCOUNTS, IPS)
def test_two_accounts_share_only_the_networks_counter(what: str, one: str, other: str, ip: str) -> None:
    shared = keys(plan_attempt(what, one, ip=ip, device=None)) & keys(plan_attempt(what, other, ip=ip, device=None))
    if one != other:
        assert shared == {("network", what, network_of(ip))}


@given(KINDS, ACCOUNTS, IPS)
def test_an_account_under_attack_is_slowed_and_not_locked(what: str, account: str, ip: str) -> None:
    plan = plan_attempt(what, account, ip=ip, device=None)
    assert plan.account is not None and plan.slow is not None
    assert plan.slow.amount == 1 and plan.slow.seconds <= 60
    guesses_a_day = plan.account.amount * 24 + 86_400 // plan.slow.seconds
    assert guesses_a_day <= 10_100
    if what == "code":
        assert guesses_a_day * 3 / 1_000_000 < 0.006


@given(st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_an_ipv4_network_is_a_24(number: int, last: int) -> None:
    same = number & ~0xFF | last
    assert network_of(str(IPv4Address(number))) == network_of(str(IPv4Address(same)))
    assert network_of(str(IPv4Address(number))) != network_of(str(IPv4Address(number ^ 0x100)))
    assert network_of(f"::ffff:{IPv4Address(number)}") == network_of(str(IPv4Address(number)))


@given(st.integers(2**64, 2**128 - 1), st.integers(0, 2**72 - 1))
def test_an_ipv6_network_is_a_56(number: int, rest: int) -> None:
    same = number >> 72 << 72 | rest
    assert network_of(str(IPv6Address(number))) == network_of(str(IPv6Address(same)))
    assert network_of(str(IPv6Address(number))) != network_of(str(IPv6Address(number ^ 1 << 72)))


@given(st.text(max_size=30))
def test_what_is_no_address_is_one_network(text: str) -> None:
    assert network_of(None) == "unknown"
    assert network_of(text)


@given(ACCOUNTS, IPS)
def test_mail_and_hashing_have_limits_of_their_own(account: str, ip: str) -> None:
    plans = [plan_mail(account, ip=ip), plan_hash(ip), plan_attempt("password", account, ip=ip, device=None)]
    together = [key for plan in plans for key in keys(plan)]
    assert len(together) == len(set(together))
