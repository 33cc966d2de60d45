"""Pages of the Simple API of projects that another index has, which says less about its files."""

from datetime import UTC, datetime
from typing import Final

import pytest
from msgspec.json import decode
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from wheelyard.model.project import Status
from wheelyard.rendering.simple_pages import detail_html, detail_json
from wheelyard.upstream.page import UpstreamFile, UpstreamPage

WHOLE: Final = UpstreamFile(
    filename="six-1.0-py3-none-any.whl",
    version="1.0",
    url="https://files.example.com/six",
    sha256="a" * 64,
    size=5,
    uploaded_at=datetime(2020, 1, 2, tzinfo=UTC),
    core_metadata="b" * 64,
    has_metadata=True,
)
BARE: Final = UpstreamFile(filename="six-0.9.tar.gz", version="0.9", url=WHOLE.url)


def page(*files: UpstreamFile) -> UpstreamPage:
    """Return the page of a project with these files."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    name = canonicalize_name("six")
    return UpstreamPage(name=name, upstream="pypi-0", fetched_at=moment, files=files)


def test_known_file_looks_as_a_private_one() -> None:
    """A file of which everything is known looks as a private one, and leads to this index."""
    shown = decode(detail_json(page(WHOLE)))

    assert shown["meta"] == {"api-version": "1.4"}
    assert shown["files"] == [
        {
            "filename": WHOLE.filename,
            "url": f"../../files/six/{'a' * 64}/{WHOLE.filename}",
            "hashes": {"sha256": "a" * 64},
            "core-metadata": {"sha256": "b" * 64},
            "yanked": False,
            "size": 5,
            "upload-time": "2020-01-02T00:00:00.000000Z",
        }
    ]


def test_unknown_facts_are_left_out() -> None:
    """Without a size the version is 1.0; what is not known is left out, in JSON and in HTML."""
    shown, html = decode(detail_json(page(BARE, WHOLE))), detail_html(page(BARE, WHOLE)).decode()

    assert shown["meta"] == {"api-version": "1.0"}
    assert shown["files"][0] == {
        "filename": BARE.filename,
        "url": f"../../files/six/{BARE.filename}",
        "hashes": {},
        "core-metadata": False,
        "yanked": False,
    }
    assert 'content="1.0"' in html
    assert f'<a href="../../files/six/{BARE.filename}">' in html
    assert "data-size" in html  # of the other file


@pytest.mark.parametrize(
    ("sha256", "stated", "fragment"),
    [
        ("", ("md5=0f", "sha1=1f", "sha512=2f"), "#sha512=2f"),
        ("", ("md5=0f",), "#md5=0f"),
        ("", ("sha1=1f",), ""),  # uv refuses a page with such a link
        ("a" * 64, ("md5=0f", "sha512=2f"), f"#sha256={'a' * 64}"),
    ],
)
def test_other_digests_are_passed_on(sha256: str, stated: tuple[str, ...], fragment: str) -> None:
    """A client gets each digest that the other index states, and in HTML the best one of them."""
    file = replace(BARE, sha256=sha256, other_hashes=stated)
    expected = {"sha256": sha256} if sha256 else {}
    expected |= dict(text.split("=") for text in stated)
    shown = decode(detail_json(page(file)))["files"][0]
    assert shown["hashes"] == expected
    assert f'<a href="{shown["url"]}{fragment}">' in detail_html(page(file)).decode()


def test_metadata_may_lack_a_digest() -> None:
    """Core metadata whose digest nobody has said is offered without one."""
    file = replace(WHOLE, core_metadata="")

    assert decode(detail_json(page(file)))["files"][0]["core-metadata"] is True
    assert 'data-core-metadata="true"' in detail_html(page(file)).decode()


def test_quarantined_project_has_no_files() -> None:
    """A project that its index has quarantined has no files, and says so."""
    gone = replace(page(WHOLE), status=Status.QUARANTINED)
    shown = decode(detail_json(gone))

    assert (shown["files"], shown["project-status"]) == ([], {"status": "quarantined"})
