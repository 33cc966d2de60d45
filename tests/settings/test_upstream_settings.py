"""Section `[upstream]`: what is refused before a server starts, and where passwords come from."""

import reprlib
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Final

import pytest

from tests.settings.written import variables_of
from wheelyard.errors import Invalid
from wheelyard.settings.load import load_settings, unknown_variables
from wheelyard.settings.upstream_section import UpstreamSettings

URL: Final = "upstream.url=https://index.example.com/simple/"
ON: Final = "upstream.enabled=true"
PRIVATE: Final = "upstream.private=acme-*"
LOOPBACK: Final = "upstream.url=http://127.0.0.1:9/simple/"
TWO: Final = """
[[upstream.index]]
url = "https://a.example/simple/"
label = "team-a"
[[upstream.index]]
url = "https://b.example/simple/"
label = "b"
file_hosts = ["f.example"]
google = true
"""


def upstream_of(*given: str, toml: str = "", **variables: str) -> UpstreamSettings:
    """Return the section of variables, some of them given as `section.key=value`, and of tables."""
    environ = variables_of(*given) | variables | {"WHEELYARD_TOML": toml}
    return load_settings(environ=environ).settings.upstream


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([ON, PRIVATE], "no upstream index is named"),
        ([ON, PRIVATE, LOOPBACK], "over plain HTTP"),
        ([ON, PRIVATE, LOOPBACK, "upstream.allow_private_networks=10.0.0.0/8"], "over plain HTTP"),
        (
            [
                *(ON, PRIVATE, "upstream.url=http://10.0.0.1/simple/"),
                "upstream.allow_private_networks=10.0.0.0/8",
            ],
            "over plain HTTP",
        ),
        ([ON, PRIVATE, URL, "upstream.google=1", "upstream.username=a"], "google: it sends"),
        ([ON, PRIVATE, LOOPBACK, "upstream.google=1"], "google: Google's credentials are not sent"),
        ([ON, PRIVATE, URL, "upstream.password=a"], "password: there is no username"),
        ([ON, PRIVATE, URL, "upstream.min_cvss=7"], "min_cvss: there is nothing to compare"),
        ([ON, PRIVATE, URL, "server.public_url=https://index.example.com"], "this index itself"),
        (["upstream.min_cvss=nan"], "min_cvss: expected a number from 0 to 10"),
        (
            ["upstream.private=acme-"],
            "such as acme-*, and found 'acme-'",
        ),
        (["upstream.private=acme/*"], "found 'acme/*'"),
        (
            ["upstream.cooldown_allow=requests==new"],
            "expected names, patterns, or NAME==V",
        ),
        (["upstream.allow_private_networks=10.0.0.1/8"], "found '10.0.0.1/8'"),
        (["upstream.snapshot=yesterday"], "snapshot: expected 2026-10-31, or a time"),
        (["upstream.label=a b"], "label: expected up to 40 letters"),
        (["upstream.bucket=memory:"], "bucket: expected a folder, gs://"),
    ],
)
def test_unsafe_settings_stop_the_start(flags: list[str], words: str) -> None:
    """Settings that would be unsafe or senseless stop the start, with one sentence."""
    with pytest.raises(Invalid) as caught:
        upstream_of(*flags)

    assert words in caught.value.message


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('url = "https://a.example/"', "upstream.index 1.label: is missing. Write up to 40"),
        ('url = "ftp://a.example/"\nlabel = "a"', "upstream.index 1.url: expected a URL"),
        ('url = "https://a.example/"\nlabel = "a"', "upstream.url: there are several"),
    ],
)
def test_tables_that_are_refused(table: str, words: str) -> None:
    """A wrong table stops the start, and so does the URL of another index beside tables."""
    with pytest.raises(Invalid) as caught:
        upstream_of(ON, PRIVATE, URL, toml=f"[[upstream.index]]\n{table}")

    assert words in caught.value.message


@pytest.mark.parametrize(
    "flags",
    [
        [ON, URL, PRIVATE],
        [ON, URL, "access.private_names=acme-*"],
        [ON, URL, "upstream.allow=requests"],
        [ON, URL, "upstream.i_have_no_private_prefix=true"],
        [ON, PRIVATE, LOOPBACK, "upstream.allow_private_networks=127.0.0.0/8"],
        [ON, PRIVATE, "upstream.url=http://10.0.0.1/simple/", "upstream.allow_insecure=true"],
    ],
    ids=reprlib.repr,
)
def test_private_names_and_https_are_enough(flags: list[str]) -> None:
    """Private names, and HTTPS or a loopback address that is allowed, are all that is needed."""
    assert upstream_of(*flags).is_on
    assert upstream_of(ON, PRIVATE, toml=TWO).is_on


def test_a_mode_stops_the_start() -> None:
    """Who still says in a file or a variable how `allow` is meant reads what to do instead."""
    for where in ({"toml": '[upstream]\nmode = "open"'}, {"WHEELYARD_UPSTREAM_MODE": "open"}):
        with pytest.raises(Invalid) as caught:
            upstream_of(ON, PRIVATE, URL, **where)

        assert "it was removed. Without it, upstream.allow is the list" in caught.value.message


def test_off_by_default() -> None:
    """Without settings there is no upstream index that would be asked."""
    upstream = upstream_of()

    assert (upstream.is_on, upstream.indexes) == (False, ())


def test_one_line_is_enough() -> None:
    """The URL alone switches the upstream index on, and its page says the hosts of its files."""
    line = 'upstream.url = "https://index.example.com/simple/"'
    upstream = upstream_of(toml=line)
    (index,) = upstream.indexes
    assert (upstream.is_on, upstream.finds_file_hosts) == (True, True)
    assert (index.url, index.file_hosts) == ("https://index.example.com/simple/", None)
    assert upstream_of(toml=TWO).is_on
    assert not upstream_of(toml=TWO).finds_file_hosts
    assert upstream_of(toml=TWO).labels == ("team-a", "b")
    assert upstream_of("upstream.enabled=false", toml=TWO).labels == ()
    assert not upstream_of("upstream.enabled=false", toml=line).is_on
    for known in ("upstream.file_hosts=f.example", "upstream.offline=true"):
        assert not upstream_of(known, toml=line).finds_file_hosts
    assert not upstream_of(toml=f"{line}\nupstream.file_hosts = []").finds_file_hosts


OTHER: Final = "https://other.example/simple/"


@pytest.mark.parametrize(
    ("toml", "url", "username"),
    [
        ("", OTHER, "reader"),
        (f'[upstream]\nurl = "{OTHER}"\nfile_hosts = ["f.example"]', OTHER.rstrip("/"), "reader"),
        ('[upstream]\nurl = "https://a.example/"\nfile_hosts = ["f.example"]', OTHER, ""),
        (TWO, OTHER, ""),
    ],
)
def test_an_option_names_the_only_index(toml: str, url: str, username: str) -> None:
    """An index that an option names takes the place of all others, and gets no password of them."""
    environ = {
        "WHEELYARD_TOML": toml,
        "WHEELYARD_UPSTREAM_USERNAME": "reader",
        "WHEELYARD_UPSTREAM_PASSWORD": "hunter2",
        "WHEELYARD_UPSTREAM_PRIVATE": "acme-*",
    }
    upstream = load_settings(
        environ=environ, overrides={"upstream": {"url": url, "enabled": True}}
    ).settings.upstream

    (index,) = upstream.indexes
    is_same = bool(toml) and bool(username)
    assert (index.url, index.username, bool(index.password)) == (url, username, bool(username))
    assert index.file_hosts == (("f.example",) if is_same else None)
    assert (upstream.is_on, upstream.private) == (True, ("acme-*",))


def test_a_url_with_a_password_is_refused() -> None:
    """A URL of an index with a password in it is refused, and not repeated."""
    wanted = {"upstream": {"url": "https://ana:hunter2@a.example/simple/", "enabled": True}}
    with pytest.raises(
        Invalid, match=r"upstream\.url: expected .*; username and password are"
    ) as caught:
        load_settings(environ={}, overrides=wanted)
    assert "hunter2" not in caught.value.message


def test_tables_keep_order_and_passwords(tmp_path: Path) -> None:
    """Tables keep their order, and each has the password of the variable with its label."""
    first, second = upstream_of(
        toml=TWO,
        WHEELYARD_UPSTREAM_TEAM_A_USERNAME="reader",
        WHEELYARD_UPSTREAM_TEAM_A_PASSWORD="s1",
    ).indexes

    assert (first.label, first.username, first.password) == ("team-a", "reader", "s1")
    assert (second.label, second.password, second.google) == ("b", "", True)
    assert "s1" not in repr(first)
    file = tmp_path / "wheelyard.toml"
    file.write_text('[[upstream.index]]\nurl = "https://a.example/"\nlabel = "a"\npassword = "s1"')
    words = "upstream.index.password: a secret is .* Set WHEELYARD_UPSTREAM_A_PASSWORD"
    with pytest.raises(Invalid, match=words):
        load_settings(file=file, environ={})
    file.write_text('[upstream.index]\nurl = "https://a.example/"')
    with pytest.raises(Invalid, match=r"upstream.index: expected tables, in \[\[ \]\]"):
        load_settings(file=file, environ={})
    for key, other in (
        ("label", TWO.replace('"b"', '"Team_A"')),
        ("url", TWO.replace("b.ex", "a.ex")),
    ):
        with pytest.raises(Invalid, match=rf"upstream\.index\.{key}: two tables have the same"):
            upstream_of(ON, PRIVATE, toml=other)


def test_names_and_time_of_each() -> None:
    """A table has patterns and times of its own, or else those of `[upstream]`."""
    own = "[[upstream.index]]\nurl = 'https://a.example/'\nlabel = 'a'\nallow = ['x']\ndeny = []\n"
    own += "page_ttl = 5\ntimeout = 20\n[[upstream.index]]\nurl = 'https://b.example/'\nlabel = 'b'"
    others = ["upstream.deny=d", "upstream.page_ttl=60", "upstream.timeout=90"]

    first, second = upstream_of(*others, toml=own).indexes
    assert (first.allow, first.deny, first.page_ttl) == (("x",), (), 5)
    assert (second.allow, second.deny, second.page_ttl) == (None, ("d",), 60)
    assert (first.timeout, second.timeout) == (20, 90)
    (_, second) = upstream_of("upstream.allow=y", toml=own).indexes
    assert second.allow == ("y",)
    with pytest.raises(Invalid, match=r"index 1\.allow: expected .* found 'a!'"):
        upstream_of(toml=own.replace("'x'", "'a!'"))
    with pytest.raises(Invalid, match=r"index 1\.page_ttl: expected .* and found 'x'"):
        upstream_of(toml=own.replace("= 5", "= 'x'"))
    for seconds in (0, 601):
        with pytest.raises(Invalid, match=r"index 1\.timeout: .* 1 to 600"):
            upstream_of(toml=own.replace("= 20", f"= {seconds}"))
    assert upstream_of(toml="[upstream]\nurl = 'https://a.example/'\n").timeout == 60


def test_a_password_for_nobody() -> None:
    """A variable whose label no table has stops the start, and is not called an unknown one."""
    with pytest.raises(Invalid, match="WHEELYARD_UPSTREAM_X_PASSWORD: no "):
        upstream_of(toml=TWO, WHEELYARD_UPSTREAM_X_PASSWORD="s1")
    assert unknown_variables({"WHEELYARD_UPSTREAM_X_PASSWORD": "s1"}) == []


def test_a_date_is_the_whole_day_in_utc(tmp_path: Path) -> None:
    """A date means the whole day in UTC, with or without quotes; a time without a zone is UTC."""
    file = tmp_path / "wheelyard.toml"
    file.write_text("[upstream]\nsnapshot = 2026-10-31")
    night = datetime.combine(datetime(2026, 10, 31, tzinfo=UTC), time.max, UTC)

    assert load_settings(file=file, environ={}).settings.upstream.snapshot_at == night
    assert upstream_of("upstream.snapshot=2026-10-31").snapshot_at == night
    noon = datetime(2026, 10, 31, 12, tzinfo=UTC)
    assert upstream_of("upstream.snapshot=2026-10-31T12:00").snapshot_at == noon
    assert upstream_of("upstream.snapshot=2026-10-31T14:00+02:00").snapshot_at == noon
