"""Links of upstream pages that cannot be used: each is counted, and the first ones are named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from tests.operations.old_sdists import REAL
from tests.upstream.test_parsing import HTML, JSON, MD5, SHA, entry, page, parse
from wheelyard.model.distribution_filename import FILENAME_LIMIT
from wheelyard.model.public_packages import UnusedLink
from wheelyard.upstream.parsing import MAX_LOCATIONS, MAX_OTHER_FORMATS, MAX_UNUSED_LINKS

FILES = "https://files.example.com/"
GOOD = entry(filename="acme-tool-9.tar.gz", url="/good")
NO_WHEEL = "is not named as a wheel is: name-version[-build]-python-abi-platform[-label].whl"
NO_SDIST = "is not named as an sdist is: name-version.tar.gz, with a version by PEP 440"
NO_DISTRIBUTION = "is not named like a distribution"
OF_ANOTHER = "is not a file of acme-tool, by its name"
REASONS = {
    "acme__tool-1.0-py3-none-any.whl": NO_WHEEL,
    "acme_tool-1.0-py3-none-any-X86_64_v3.whl": NO_WHEEL,
    "acme_tool-1.0-py3-none-any-x86_64_v3.whl": (
        "is a wheel variant without acme_tool-1.0-variants.json"
    ),
    "acme_tool-1.0-variants.json": "has no SHA-256",
    "acme_tool-final-variants.json": "has no version by PEP 440 in its name",
    "acme_core-1.0-variants.json": "is not about wheels of acme-tool, by its name",
    "acme-tool-latest.tar.gz": NO_SDIST,
    "acme-tool-1.0-final-1.tar.gz": OF_ANOTHER,
    "acme-core-1.0-1.tar.gz": OF_ANOTHER,
    "acme_core-1.0-py3-none-any.whl": OF_ANOTHER,
    "acme-tool.tar.bz2": "is in another format: wheelyard takes wheels, .tar.gz and .zip",
    "../": NO_DISTRIBUTION,
    f"acme_tool-{'1' * 200}-py3-none-any.whl": "has a name of more than 200 bytes",
    f"acme_tool-1.0-py3-none-{'a' * 177}.whl": "has a name of more than 200 bytes",
}
"""Names of links, and why their files are left out."""


@pytest.mark.parametrize("filename", REASONS)
def test_names(filename: str) -> None:
    """A link whose name is not that of a file of the project is named with the reason."""
    found = parse(page(GOOD, entry(filename=filename)))

    expected = UnusedLink(filename[:FILENAME_LIMIT], REASONS[filename])
    assert (found.unused_links, found.unused_link_count) == ((expected,), 1)
    assert [file.filename for file in found.files] == ["acme-tool-9.tar.gz"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"hashes": {"sha256": SHA[1:]}}, "has a malformed digest"),
        ({"hashes": {"md5": MD5 + "0"}}, "has a malformed digest"),
        ({"requires_python": ">=3" * 1000}, "has a malformed requires-python"),
        ({"requires_python": 3}, "has a malformed requires-python"),
        ({"url": "https://["}, "has a URL that cannot be used"),
        ({"url": FILES + "x" * 9000}, "has a URL of more than 8192 characters"),
        ({"url": "/" + "x" * 9000}, "has a URL of more than 8192 characters"),
        ({"url": "https://elsewhere.example.com/x"}, "elsewhere.example.com is not in"),
        ({"url": "https://a:b@files.example.com/x"}, "its URL has a user name"),
        ({"url": None}, "has no filename, or no URL"),
    ],
)
def test_what_a_page_says_of_a_file(wrong: dict[str, object], why: str) -> None:
    """A link with what cannot be used is named with the reason."""
    found = parse(page(GOOD, entry(**wrong)))

    (link,) = found.unused_links
    assert why in link.why
    assert link.filename == entry()["filename"]
    assert len(found.files) == 1


def test_a_file_that_is_listed_twice() -> None:
    """Of a file that is listed twice one link counts, and the other one is named."""
    found = parse(page(entry(), entry(hashes={"sha256": SHA})))

    assert [file.sha256 for file in found.files] == [SHA]
    assert found.unused_links == (UnusedLink(entry()["filename"], "is listed twice"),)


def test_links_without_a_name() -> None:
    """What is no entry of a file at all is counted, too, in JSON and in HTML."""
    assert parse(page(GOOD, {}, 7, entry(filename=3))).unused_link_count == 3
    html = "<a href='../'>up</a><a href='acme-tool-9.tar.gz'>x</a><a href='#top'>top</a>"
    found = parse(html.encode(), HTML)
    assert found.unused_links == (
        UnusedLink("", NO_DISTRIBUTION),
        UnusedLink("", NO_DISTRIBUTION),
    )


@pytest.mark.parametrize("kind", [JSON, HTML])
def test_a_page_of_a_hostile_index_stays_small(kind: str) -> None:
    """Of many links with long and strange names all are counted, and few are kept, short."""
    names = [f"\x1b[2J\u202e{number}{'x' * 5000}" for number in range(1000)]
    if kind == JSON:
        body = page(GOOD, *(entry(filename=name) for name in names))
    else:
        links = "".join(f"<a href='{name}'>" for name in ("acme-tool-9.tar.gz", *names))
        body = links.encode()
    found = parse(body, kind)

    assert found.unused_link_count == 1000
    assert len(found.unused_links) == MAX_UNUSED_LINKS
    for link in found.unused_links:
        assert len(link.filename) <= FILENAME_LIMIT
        assert link.filename.isprintable()
        assert len(link.why) < 200


def test_of_many_refused_hosts_the_first_are_kept() -> None:
    """Of many hosts that files may not be fetched from, the first are named, and all counted."""
    hosts = [f"host-{number}.example.com" for number in range(MAX_LOCATIONS + 5)]
    files = [entry(url=f"https://{host}/acme_tool-1.0-py3-none-any.whl") for host in hosts]
    found = parse(page(GOOD, *files))

    assert found.refused_hosts == tuple(hosts[:MAX_LOCATIONS])
    assert found.unused_link_count == len(hosts)


def test_more_files_of_other_formats_than_are_kept_are_counted() -> None:
    """What is not kept of the files in other formats is counted as well."""
    more = 5
    eggs = (f"acme_tool-{number}.egg" for number in range(MAX_OTHER_FORMATS + more))
    found = parse(page(GOOD, *(entry(filename=egg) for egg in eggs)))

    assert (len(found.other_formats), found.unused_link_count) == (MAX_OTHER_FORMATS, more)


@given(st.lists(st.sampled_from([*REASONS, "acme-tool-1.tar.gz", "acme-tool-1.egg"]), max_size=30))
def test_nothing_is_lost(names: list[str]) -> None:
    """Every link is a file, a file in another format, or counted."""
    found = parse(page(GOOD, *(entry(filename=name) for name in names)))

    others = [name for name in names if name == "acme-tool-1.egg"]
    assert len(found.files) + len(others) + found.unused_link_count == 1 + len(names)


@pytest.mark.parametrize("filename", REAL)
def test_sdists_whose_version_has_a_hyphen(filename: str) -> None:
    """An sdist whose version has a hyphen has, on its page, the version that pip and uv read."""
    project, version = REAL[filename]
    found = parse(
        json.dumps(
            {
                "meta": {"api-version": "1.0"},
                "name": project,
                "files": [entry(filename=filename, url="/x"), GOOD],
            }
        ).encode(),
        name=canonicalize_name(project),
    )

    assert [(file.filename, file.version) for file in found.files] == [(filename, version)]
    assert [link.filename for link in found.unused_links] == ["acme-tool-9.tar.gz"]
