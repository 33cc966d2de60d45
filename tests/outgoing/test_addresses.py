"""Which addresses may be connected to."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis.strategies import integers

from wheelyard.outgoing.network import Reach, WebFault, is_public, resolve

NUMBERS = integers(0, 2**32 - 1)
PUBLIC, PRIVATE = "8.8.8.8", "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "is_open"),
    [
        ("8.8.8.8", True),
        ("192.0.1.0", True),
        ("172.32.0.1", True),
        ("100.128.0.1", True),
        ("199.36.153.8", True),
        ("168.63.129.15", True),
        ("2001:4860:4860::8888", True),
        ("2620:fe::fe", True),
        ("64:ff9b::808:808", True),
        ("::ffff:8.8.8.8", True),
        ("0.0.0.0", False),  # noqa: S104 - it is asked about, not listened on
        ("0.1.2.3", False),
        ("10.255.255.255", False),
        ("100.64.0.1", False),
        ("100.100.100.200", False),
        ("127.255.255.254", False),
        ("168.63.129.16", False),
        ("169.254.169.254", False),
        ("169.254.170.2", False),
        ("172.16.0.1", False),
        ("172.31.255.255", False),
        ("192.0.0.192", False),
        ("192.0.2.1", False),
        ("192.88.99.1", False),
        ("192.168.0.1", False),
        ("198.19.255.255", False),
        ("224.0.0.1", False),
        ("239.255.255.250", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::808:808", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:0:7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::a00:1", False),
        ("100::1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("2001:db8::1", False),
        ("2002:7f00:1::", False),
        ("2002:808:808::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("fc00::1", False),
        ("fd00:ec2::254", False),
        ("fd20:ce::254", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("ff0e::1%1", False),
    ],
)
def test_telling_public_addresses(address: str, *, is_open: bool) -> None:
    """An address of the open internet is told from all others, also inside another."""
    assert is_public(ip_address(address)) is is_open


@given(integers(0, 2**128 - 1))
def test_nothing_that_python_knows_to_be_closed(number: int) -> None:
    """What Python's own lists know to be private, reserved or multicast is never public."""
    four, six = IPv4Address(number >> 96), IPv6Address(number)
    open_six = IPv6Address((number >> 3) | 1 << 125)  # every other one is outside of 2000::/3

    for address in (four, six, open_six):
        assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(NUMBERS)
def test_addresses_in_addresses(number: int) -> None:
    """IPv4 inside of IPv6 is what it is alone where it is reached so, and nothing elsewhere."""
    inside = IPv4Address(number)

    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert is_public(IPv6Address(int(IPv6Address(prefix)) + number)) is is_public(inside)
    assert not is_public(IPv6Address(number))
    assert not is_public(IPv6Address(0x2002 << 112 | number << 80))
    assert not is_public(IPv6Address(0x2001 << 112 | number ^ 0xFFFFFFFF))


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "0", "localhost"],
)
def test_spellings(host: str) -> None:
    """A number is the address that the system takes it for, however it is written."""
    with pytest.raises(WebFault, match="private"):
        Reach().usable(host, resolve(host, 80))


def test_hosts_that_are_named() -> None:
    """A host that the operator has named may have a private address, and no other host may."""
    reach = Reach(("Index.Example", "[::1]"))

    assert reach.usable("index.example", [PRIVATE]) == [PRIVATE]
    assert reach.usable("index.example.", [PRIVATE]) == [PRIVATE]
    assert reach.usable("::1", ["::1"]) == ["::1"]
    for other in ("example", "a.index.example", "127.0.0.1", "localhost"):
        with pytest.raises(WebFault, match="private"):
            reach.usable(other, [PRIVATE])


def test_only_what_was_checked() -> None:
    """Of the addresses of a host, those that are public are left."""
    assert Reach().usable("index.example", [PRIVATE, PUBLIC, "::1"]) == [PUBLIC]


def test_a_name_that_moves() -> None:
    """A host with a public address cannot become one of this network later, though it is named."""
    reach = Reach(("index.example",))

    assert reach.usable("index.example", [PUBLIC]) == [PUBLIC]
    with pytest.raises(WebFault, match="private"):
        reach.usable("index.example", [PRIVATE])
    assert Reach(("index.example",)).usable("index.example", [PRIVATE, PUBLIC]) == [PUBLIC]
