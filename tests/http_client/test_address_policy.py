"""Which addresses may be connected to."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis.strategies import integers

from wheelyard.http_client.hosts import (
    METADATA_ADDRESSES,
    AddressPolicy,
    FetchError,
    PublicOr,
    is_public,
    resolve,
)

NUMBERS = integers(0, 2**32 - 1)
PUBLIC, PRIVATE = "8.8.8.8", "127.0.0.1"
OPEN = """
    8.8.8.8 192.0.1.0 172.32.0.1 100.128.0.1 199.36.153.8 168.63.129.15 2001:4860:4860::8888
    2620:fe::fe 64:ff9b::808:808 ::ffff:8.8.8.8
"""
CLOSED = """
    0.0.0.0 0.1.2.3 10.255.255.255 100.64.0.1 100.100.100.200 127.255.255.254 168.63.129.16
    169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1
    192.168.0.1 198.19.255.255 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 :: ::1
    ::7f00:1 ::808:808 ::ffff:10.0.0.1 ::ffff:0:7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::a00:1
    100::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2002:7f00:1:: 2002:808:808::1
    3fff::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1
    ff0e::1%1
"""


@pytest.mark.parametrize("address", OPEN.split() + CLOSED.split())
def test_telling_public_addresses(address: str) -> None:
    """An address of the open internet is told from all others, also inside another."""
    assert is_public(ip_address(address)) is (address in OPEN.split())


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
def test_a_number_is_an_address_however_it_is_written(host: str) -> None:
    """A number is the address that the system takes it for, however it is written."""
    with pytest.raises(FetchError, match="private"):
        AddressPolicy().allowed_addresses(host, resolve(host, 80))


def test_hosts_that_are_named() -> None:
    """A host that the operator has named may have a private address, and no other host may."""
    reach = AddressPolicy(("Index.Example", "[::1]"))

    assert reach.allowed_addresses("index.example", [PRIVATE]) == [PRIVATE]
    assert reach.allowed_addresses("index.example.", [PRIVATE]) == [PRIVATE]
    assert reach.allowed_addresses("::1", ["::1"]) == ["::1"]
    for other in ("example", "a.index.example", "127.0.0.1", "localhost"):
        with pytest.raises(FetchError, match="private"):
            reach.allowed_addresses(other, [PRIVATE])


def test_only_what_was_checked() -> None:
    """Of the addresses of a host, those that are public are left."""
    assert AddressPolicy().allowed_addresses("index.example", [PRIVATE, PUBLIC, "::1"]) == [PUBLIC]


def test_a_name_that_moves() -> None:
    """A host with a public address cannot become one of this network later, though it is named."""
    reach = AddressPolicy(("index.example",))

    assert reach.allowed_addresses("index.example", [PUBLIC]) == [PUBLIC]
    with pytest.raises(FetchError, match="private"):
        reach.allowed_addresses("index.example", [PRIVATE])
    assert AddressPolicy(("index.example",)).allowed_addresses(
        "index.example", [PRIVATE, PUBLIC]
    ) == [PUBLIC]


def test_plain_http_to_an_address_with_loopback_in_it() -> None:
    """The gateway of NAT64 is another machine, whichever address is to be reached behind it."""
    loopback = PublicOr((ip_network("127.0.0.0/8"),), only_loopback=True)

    assert loopback(ip_address("127.0.0.1"))
    assert not loopback(ip_address("64:ff9b::127.0.0.1"))


@pytest.mark.parametrize("address", sorted(map(str, METADATA_ADDRESSES)))
def test_metadata_servers_are_never_allowed(address: str) -> None:
    """No setting allows a connection to a server that has the credentials of the machine."""
    everything = PublicOr((ip_network("0.0.0.0/0"), ip_network("::/0")))

    assert not everything(ip_address(address))
    if "." in address:
        assert not everything(ip_address(f"::ffff:{address}"))
        assert not everything(ip_address(f"64:ff9b::{address}"))
    assert everything(ip_address("10.0.0.1"))
    assert everything(ip_address("fd00::1"))
    assert not PublicOr()(ip_address("10.0.0.1"))
