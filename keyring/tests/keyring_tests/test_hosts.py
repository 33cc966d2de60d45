"""Which host a client asks for, and whether it is on the list."""

import pytest

from wheelyard_keyring.hosts import parse_host, parse_service
from wheelyard_keyring.settings import Settings


def is_answered(service: str, *hosts: str) -> bool:
    """Whether a service would get a credential with these hosts on the list."""
    listed = [parse_host(host) for host in hosts or ("pypi.acme.dev",)]
    settings = Settings(hosts=frozenset(filter(None, listed)))
    asked = parse_service(service)
    return asked is not None and asked.is_safe and settings.lists(asked)


@pytest.mark.parametrize(
    "service",
    [
        "https://pypi.acme.dev/simple/",
        "https://pypi.acme.dev",
        "https://pypi.acme.dev:443/simple/",
        "https://pypi.acme.dev:/simple/",
        "HTTPS://PYPI.ACME.DEV/legacy/",
        "https://pypi.acme.dev./simple/",
        "https://oauth2accesstoken@pypi.acme.dev/simple/",
        "https://evil.com@pypi.acme.dev/simple/",
        "https://pypi.acme.dev/simple/?next=https://evil.com/",
    ],
)
def test_ours(service: str) -> None:
    """Every way in which a client may spell a listed host is recognised."""
    assert is_answered(service)


@pytest.mark.parametrize(
    "service",
    [
        "",
        "/",
        "//",
        "https://",
        "https:///pypi.acme.dev/",
        "//pypi.acme.dev",
        "///pypi.acme.dev",
        "pypi.acme.dev.evil.com",
        "evil.com/pypi.acme.dev",
        "evil.com?pypi.acme.dev",
        "evil.com#pypi.acme.dev",
        "evil.com#@pypi.acme.dev/",
        "https://evil.com/pypi.acme.dev",
        "https://evil.com/https://pypi.acme.dev",
        "https://evil.com#@pypi.acme.dev/",
        "https://evil.com?@pypi.acme.dev/",
        "https://pypi.acme.dev@evil.com/",
        "https://pypi.acme.dev:443@evil.com/",
        "https://pypi.acme.dev@@evil.com/",
        "https://a@pypi.acme.dev@evil.com/",
        "https://pypi.acme.dev;@evil.com/",
        "pypi.acme.dev@evil.com",
        "https://evilpypi.acme.dev/",
        "https://www.pypi.acme.dev/",
        "https://acme.dev/",
        "https://pypi-acme.dev/",
        "https://pypi.acme.dev../",
        "https://.pypi.acme.dev/",
        "https://*.acme.dev/",
    ],
)
def test_others(service: str) -> None:
    """A host that only looks like a listed one, or carries its name about, is a stranger."""
    assert not is_answered(service)


@pytest.mark.parametrize(
    "service",
    [
        "https://pypi.acme.dev\\@evil.com",
        "https://evil.com\\@pypi.acme.dev",
        "https:\\\\pypi.acme.dev/",
        "https://pypi.acme.dev\\.evil.com/",
        " https://pypi.acme.dev/",
        "https://pypi.acme.dev /",
        "https://pypi.acme.dev/\n",
        "https://pypi.acme.dev\r\n/",
        "https://pypi\t.acme.dev/",
        "https://pypi.acme.dev\x00.evil.com/",
        "https://pypi.acme.dev\x7f/",
        "https://pypi.acme.dev\u2028/",
        "https://pypi.acme.dev\u00a0/",
        "https://pypi.acme\u200b.dev/",
        "https://pypi.acme\u00ad.dev/",
        "https://pypi.acme.dev\ud800/",
        "https://pypi%2eacme.dev/",
        "https://%70ypi.acme.dev/",
        "https://pypi.acme.dev%00.evil.com/",
        "https://pypi.acme.dev%2f@evil.com/",
        "https://[pypi.acme.dev]/",
        "https://[pypi.acme.dev/",
        "https://pypi.acme.dev]/",
    ],
)
def test_ambiguous(service: str) -> None:
    """What two programs could read in different ways gets nothing, even if one of them is right."""
    assert not is_answered(service)


@pytest.mark.parametrize(
    "service",
    [
        "https://pypi.acme.dev:8443/simple/",
        "https://pypi.acme.dev:80/simple/",
        "https://pypi.acme.dev:0/simple/",
        "https://pypi.acme.dev:70443/simple/",
        "https://pypi.acme.dev:443443/simple/",
        "https://pypi.acme.dev:4_43/simple/",
        "https://pypi.acme.dev:+443/simple/",
        "https://pypi.acme.dev:-443/simple/",
        "https://pypi.acme.dev:٤٤٣/simple/",
        "https://pypi.acme.dev:443:443/simple/",
        "https://pypi.acme.dev:https/simple/",
        "pypi.acme.dev:8443",
        "pypi.acme.dev:80",
    ],
)
def test_other_port(service: str) -> None:
    """Another port is another server."""
    assert not is_answered(service)


def test_listed_port() -> None:
    """A port on the list is that port, and not the usual one."""
    assert is_answered("https://pypi.acme.dev:8443/simple/", "pypi.acme.dev:8443")
    assert not is_answered("https://pypi.acme.dev/simple/", "pypi.acme.dev:8443")
    assert is_answered("https://pypi.acme.dev/simple/", "pypi.acme.dev:443")


@pytest.mark.parametrize(
    "service",
    [
        "http://pypi.acme.dev/simple/",
        "http://pypi.acme.dev:443/simple/",
        "ftp://pypi.acme.dev/",
        "file://pypi.acme.dev/simple/",
        "ws://pypi.acme.dev/",
        "git+https://pypi.acme.dev/",
        "httpss://pypi.acme.dev/",
        "://pypi.acme.dev/",
        "https:pypi.acme.dev",
        "javascript://pypi.acme.dev/",
    ],
)
def test_scheme(service: str) -> None:
    """A listed host gets nothing but over https."""
    assert not is_answered(service)


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ("pypi.acme.dev", "pypi.acme.dev"),
        ("pypi.acme.dev:443", "pypi.acme.dev"),
        ("pypi.acme.dev:80", "pypi.acme.dev:80"),
        ("pypi.acme.dev:8443", "pypi.acme.dev:8443"),
        ("PYPI.ACME.DEV.", "pypi.acme.dev"),
        ("oauth2accesstoken@pypi.acme.dev", "pypi.acme.dev"),
        ("//pypi.acme.dev/simple/", "pypi.acme.dev"),
        ("pypi.acme.dev/simple/", "pypi.acme.dev"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("[::1]:8080", "[::1]:8080"),
    ],
)
def test_bare(service: str, host: str) -> None:
    """A host without a scheme could be one over plain http, so it gets nothing, though listed."""
    assert not is_answered(service, host)


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ("http://localhost/simple/", "localhost"),
        ("http://localhost:8080/simple/", "localhost:8080"),
        ("http://LOCALHOST.:8080/simple/", "localhost:8080"),
        ("http://127.0.0.1:8080/simple/", "127.0.0.1:8080"),
        ("http://127.1.2.3:8080/simple/", "127.1.2.3:8080"),
        ("http://[::1]:8080/simple/", "[::1]:8080"),
        ("http://[0:0:0:0:0:0:0:1]:8080/simple/", "[::1]:8080"),
        ("https://[2001:DB8::1]/simple/", "[2001:db8:0::1]"),
    ],
)
def test_loopback(service: str, host: str) -> None:
    """On one's own machine, plain http will do, if the host is on the list."""
    assert is_answered(service, host)
    assert not is_answered(service)


@pytest.mark.parametrize(
    "name",
    [
        "127.evil.com",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "10.0.0.1",
        "0.0.0.0",  # noqa: S104 - nobody binds to it
        "127.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
    ],
)
def test_no_loopback(name: str) -> None:
    """A host that is not plainly this machine gets nothing over plain http."""
    assert not is_answered(f"http://{name}/simple/", name)


def test_scope() -> None:
    """An address that means another machine on each network cannot be listed."""
    assert parse_host("[fe80::1%eth0]") is None
    assert not is_answered("https://[fe80::1%25eth0]/", "[fe80::1]")


def test_international() -> None:
    """A name in another alphabet is listed, and asked for, in its xn-- form."""
    assert is_answered("https://xn--bcher-kva.example/simple/", "XN--bcher-kva.example")


@pytest.mark.parametrize(
    ("service", "host"),
    [
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("https://straße.example/", "strasse.example"),  # a name of its own for pip and browsers
        ("https://fa\u03c2.example/", "fa\u03c3.example"),
        ("https://\uff50ypi.acme.dev/", "pypi.acme.dev"),
        ("https://pypi\u3002acme\u3002dev/", "pypi.acme.dev"),
        ("https://pypi.acme.dev\uff0f.evil.com/", "pypi.acme.dev"),
        ("https://pypi.acme.dev\uff20evil.com/", "pypi.acme.dev"),
        ("https://\u212aiwi.example/", "kiwi.example"),  # the Kelvin sign
        ("https://pypi.\u0430cme.dev/", "pypi.acme.dev"),  # a Cyrillic letter
        ("https://\u2460.example/", "1.example"),
    ],
)
def test_mapped(service: str, host: str) -> None:
    """A name that only some mapping turns into a listed one is a stranger's."""
    assert not is_answered(service, host)


@pytest.mark.parametrize(
    "text",
    [
        *("*", "*.acme.dev", "pypi.*", "https://pypi.acme.dev", "pypi.acme.dev/simple/", ""),
        *("user@pypi.acme.dev", "pypi.acme.dev:*", "pypi acme.dev", ".acme.dev", "a,b", "[::1"),
        *("pypi.acme.dev#", "pypi.acme.dev?", "/pypi.acme.dev/", "^pypi", "straße.example"),
    ],
)
def test_list(text: str) -> None:
    """The list takes hosts, and no patterns or URLs."""
    assert parse_host(text) is None
