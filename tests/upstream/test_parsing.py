"""Pages of upstream indexes are input from strangers: what of them is taken over."""

import hashlib
import json
import re
import reprlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packaging.utils import NormalizedName, canonicalize_name

from tests.clients.harness import REPOSITORY
from wheelyard.errors import Invalid
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import parse_url
from wheelyard.model.distribution_filename import parse_filename
from wheelyard.model.project import Status
from wheelyard.sources.candidate import DIGEST_LENGTHS, DISTRIBUTION_SUFFIXES
from wheelyard.sources.simple_page import FetchedPage
from wheelyard.upstream.page import UpstreamFile, UpstreamPage
from wheelyard.upstream.parsing import SHOWN_SUFFIXES, parse_page
from wheelyard.upstream.settings import UpstreamServer

NAME = canonicalize_name("acme-tool")
URL = "https://index.example.com/simple/acme-tool/"
SERVER = UpstreamServer(
    url=parse_url("https://index.example.com/simple/"),
    label="public",
    file_hosts=("files.example.com", "more.example.com:8443"),
)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
SHA = "0123456789abcdef" * 4
MD5 = "0123456789abcdef" * 2
WHEEL = "acme_tool-1.0-py3-none-any.whl"
JSON, HTML = "application/vnd.pypi.simple.v1+json", "text/html; charset=utf-8"


def parse(body: bytes, kind: str = JSON, name: NormalizedName = NAME) -> UpstreamPage:
    """Parse what an index has sent."""
    return parse_page(FetchedPage(parse_url(URL), kind, bytearray(body)), name, SERVER, NOW)


def entry(**other: object) -> dict[str, Any]:
    """Return an entry of a page in JSON; `_` in the names of keys stands for `-`."""
    file = {"filename": WHEEL, "url": f"https://files.example.com/a/{WHEEL}", "hashes": {}}
    return file | {key.replace("_", "-"): value for key, value in other.items()}


def page(*files: object, **other: object) -> bytes:
    """Return a page in JSON."""
    named = {key.replace("_", "-"): value for key, value in other.items()}
    found = {"meta": {"api-version": "1.4"}, "name": "Acme_Tool", "files": files}
    return json.dumps(found | named).encode()


def files_of(*files: object) -> tuple[UpstreamFile, ...]:
    """
    Return what is taken over of the files of a page.

    One more is always there, because a page without any usable URL is an error.
    """
    other = entry(filename="acme-tool-9.tar.gz", url="/other")
    found = parse(page(*files, other)).files
    return tuple(file for file in found if file.filename != "acme-tool-9.tar.gz")


@pytest.mark.parametrize("algorithm", sorted(DIGEST_LENGTHS.keys() - {"sha256"}))
def test_other_digests_in_json(algorithm: str) -> None:
    """Each digest that can be computed is taken over; a file with unfit ones alone is left out."""
    digest = hashlib.new(algorithm, b"x", usedforsecurity=False).hexdigest()
    for hashes in ({algorithm: digest}, {"sha256": SHA, algorithm: digest.upper(), "other": "x"}):
        (file,) = files_of(entry(hashes=hashes))
        assert (file.sha256, file.other_hashes) == (
            hashes.get("sha256", ""),
            (f"{algorithm}={digest}",),
        )
    unfits: tuple[object, ...] = (digest + "00", digest[:-1], "x" * len(digest), "", 7)
    for unfit in unfits:
        assert files_of(entry(hashes={algorithm: unfit})) == ()
        (file,) = files_of(entry(hashes={"sha256": SHA, algorithm: unfit}))
        assert file.other_hashes == ()
    (file,) = files_of(entry(core_metadata={algorithm: digest}))
    assert file.other_metadata_hashes == (f"{algorithm}={digest}",)


def test_everything_that_json_says() -> None:
    """A page in JSON has versions, digests, sizes, times, metadata, yanks and its status."""
    body = page(
        entry(
            hashes={"sha256": SHA.upper(), "md5": "x"},
            size=7,
            upload_time="2025-06-01T12:00:00.123456Z",
            core_metadata={"sha256": SHA},
            requires_python=">=3.11",
            yanked="it <b>breaks</b>\nthings",
        ),
        project_status={"status": "archived", "reason": "no time"},
        alternate_locations=["https://user:secret@other.example.com/simple/acme-tool/", 7],
    )

    found = parse(body)

    assert (found.status, found.reason) == (Status.ARCHIVED, "no time")
    assert found.alternate_locations == ("https://other.example.com/simple/acme-tool/",)
    assert found.files == (
        UpstreamFile(
            filename=WHEEL,
            version="1.0",
            url=f"https://files.example.com/a/{WHEEL}",
            sha256=SHA,
            size=7,
            uploaded_at=datetime(2025, 6, 1, 12, 0, 0, 123456, UTC),
            core_metadata=SHA,
            has_metadata=True,
            requires_python=">=3.11",
            yanked="it <b>breaks</b> things",
        ),
    )


def test_everything_that_html_says() -> None:
    """A page in HTML has digests, metadata, yanks, the needed Python and the status."""
    body = f"""<!DOCTYPE html><html><head>
        <meta name="pypi:repository-version" content="1.4">
        <meta name="pypi:project-status" content="quarantined">
        <base href="https://files.example.com/b/"></head><body>
        <a href="{WHEEL}#sha256={SHA}" data-requires-python="&gt;=3.11"
           data-yanked="h&uuml;" data-dist-info-metadata="sha256={SHA}">x</a>
        <a href="acme-tool-2.tar.gz#md5={MD5.upper()}&x=1" data-core-metadata="md5={MD5}">y</a>
        <a href="acme-tool-3.tar.gz#md5=abc">z</a>
    """

    found = parse(body.encode(), HTML)

    assert found.status is Status.QUARANTINED
    assert found.files == (
        UpstreamFile(
            filename="acme-tool-2.tar.gz",
            version="2",
            url="https://files.example.com/b/acme-tool-2.tar.gz",
            other_hashes=(f"md5={MD5}",),
            other_metadata_hashes=(f"md5={MD5}",),
            has_metadata=True,
        ),
        UpstreamFile(
            filename=WHEEL,
            version="1.0",
            url=f"https://files.example.com/b/{WHEEL}",
            sha256=SHA,
            core_metadata=SHA,
            has_metadata=True,
            requires_python=">=3.11",
            yanked="hü",
        ),
    )


@pytest.mark.parametrize(("says", "has_metadata"), [("true", True), ("", True), ("false", False)])
def test_metadata_without_a_digest(says: str, has_metadata: bool) -> None:  # noqa: FBT001 - a case
    """A link has core metadata unless it says that it has none."""
    (file,) = parse(f'<a href="{WHEEL}" data-core-metadata="{says}">x</a>'.encode(), HTML).files

    assert file.has_metadata is has_metadata


@pytest.mark.parametrize(
    "url",
    [
        WHEEL,
        f"../../files/{WHEEL}",
        f"https://files.example.com:443/{WHEEL}",
        f"https://more.example.com:8443/{WHEEL}?token=a%20b",
        f"//files.example.com/{WHEEL}#egg=x",
        f"https://index.example.com/{WHEEL}",
    ],
)
def test_urls_that_are_followed(url: str) -> None:
    """A file may be on the index itself, and on the hosts that the operator has named."""
    (file,) = files_of(entry(url=url))

    assert file.url.startswith("https://")
    assert WHEEL in file.url


@pytest.mark.parametrize(
    "url",
    [
        f"http://files.example.com/{WHEEL}",
        f"https://files.example.com:8443/{WHEEL}",
        f"https://more.example.com/{WHEEL}",
        f"https://evil.example.com/{WHEEL}",
        f"https://files.example.com.evil.example.com/{WHEEL}",
        f"https://user@files.example.com/{WHEEL}",
        f"//user:secret@files.example.com/{WHEEL}",
        f"https://169.254.169.254/{WHEEL}",
        f"ftp://files.example.com/{WHEEL}",
        "file:///etc/passwd",
        "https://[::1/x",
        "https://files.example.com/" + "a" * 9000,
        "javascript:alert(1)",
        7,
    ],
)
def test_urls_that_are_not_followed(url: object) -> None:
    """A file is left out if its URL leads elsewhere, or has a user name, or is none."""
    assert files_of(entry(url=url)) == ()


REFERENCES = st.lists(
    st.sampled_from(["..", ".", "files", "a.whl", "a%20b", "a b", "", "?", ":", "@", "%2e%2e"]),
    min_size=1,
    max_size=5,
).map("/".join)


@given(st.lists(REFERENCES, min_size=2, max_size=4))
@example([f"//files.example.com/{name}" for name in "ab"])
@example([f"https://FILES.example.com/{name}" for name in "ab"])
def test_links_do_not_depend_on_earlier_ones(references: list[str]) -> None:
    """A link leads to the same URL whatever links come before it on the page."""
    names = [f"acme-tool-{number}.tar.gz" for number in range(len(references))]
    listed = [entry(filename=name, url=url) for name, url in zip(names, references, strict=True)]

    together = files_of(*listed)

    alone = tuple(file for each in listed for file in files_of(each))
    assert together == alone


@pytest.mark.parametrize(
    "filename",
    [
        "acme_core-99-py3-none-any.whl",
        "acme_tool-1.0.egg",
        "acme_tool-1.0.exe",
        "acme_tool-x-py3-none-any.whl",
        "../acme_tool-1.0-py3-none-any.whl",
        "..\\acme_tool-1.0-py3-none-any.whl",
        ".acme_tool-1.0-py3-none-any.whl",
        "acme_tool-1.0-py3-none-any.whl\0",
        "\u0430cme_tool-1.0-py3-none-any.whl",
        "acme_tool-1.0-py3-none-any.whl.metadata",
        "acme_tool-1.0-" + "a" * 300 + "-none-any.whl",
        "acme_tool-1.0",
        "",
        None,
    ],
)
def test_filenames_that_are_left_out(filename: object) -> None:
    """Only a wheel or an sdist of this very project is taken."""
    assert files_of(entry(filename=filename)) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"hashes": {"sha256": "abc"}},
        {"hashes": {"sha256": 7}},
        {"requires_python": ">=3\n.11"},
        {"requires_python": "3" * 2000},
        {"requires_python": 3},
    ],
    ids=reprlib.repr,
)
def test_fields_without_which_a_file_would_be_another(wrong: Mapping[str, object]) -> None:
    """A file whose digest or Python version makes no sense is left out."""
    assert files_of(entry(**wrong)) == ()


def test_fields_that_are_only_ignored() -> None:
    """Other fields that make no sense are as if they were missing."""
    wrong = entry(
        size=-1,
        upload_time="tomorrow",
        core_metadata={"sha256": "abc"},
        yanked=[],
        provenance=["https://evil.example.com/"],
        gpg_sig=True,
        x={"y": 1},
    )

    (file,) = files_of(wrong)

    url = f"https://files.example.com/a/{WHEEL}"
    assert file == UpstreamFile(filename=WHEEL, version="1.0", url=url)


@pytest.mark.parametrize(
    ("provenance", "is_attested"), [("https://example.com/p", True), ("", False), (None, False)]
)
def test_a_file_with_a_provenance_is_attested(*, provenance: object, is_attested: bool) -> None:
    """A page that names the provenance of a file says that it is attested; it is not fetched."""
    (file,) = files_of(entry(provenance=provenance))

    assert file.is_attested == is_attested


def test_the_first_of_two_files_counts() -> None:
    """Of two files with one name, the first counts."""
    (file,) = files_of(entry(size=1), entry(size=2))

    assert file.size == 1


@pytest.mark.parametrize("is_html", [False, True])
def test_of_two_files_the_one_with_a_digest_counts(is_html: bool) -> None:  # noqa: FBT001
    """Of one filename twice the entry with a digest wins, wherever it is."""
    digests = ["", "1" * 64, "2" * 64]
    if is_html:
        links = (
            f"<a href='{WHEEL}#sha256={each}'>" if each else f"<a href='{WHEEL}'>"
            for each in digests
        )
        files = parse("".join(links).encode(), HTML).files
    else:
        files = files_of(*(entry(hashes={"sha256": each} if each else {}) for each in digests))
    assert [each.sha256 for each in files] == ["1" * 64]


def test_of_two_files_the_one_with_another_digest_counts() -> None:
    """Of one filename twice the entry with any digest wins, and SHA-256 over other digests."""
    said: list[dict[str, str]] = [{}, {"md5": "1" * 32}, {"md5": "2" * 32}]

    (file,) = files_of(*(entry(hashes=each) for each in said))
    assert file.other_hashes == (f"md5={'1' * 32}",)
    (file,) = files_of(*(entry(hashes=each) for each in [*said, {"sha256": "3" * 64}]))
    assert file.sha256 == "3" * 64


def test_the_documentation_names_the_hidden_formats() -> None:
    """The page about upstream indexes names each format that is hidden, and those alone."""
    page = (REPOSITORY / "docs" / "upstream-behaviour.md").read_text()
    section = page.partition("## Which formats are shown")[2].partition("##")[0]
    hidden = section.partition("is hidden:")[2].partition("Some installers")[0]
    suffixes = set(re.findall(r"`(\.[A-Za-z0-9.]+)`", hidden)) | {".egg"}
    assert "an egg" in hidden
    assert suffixes == set(DISTRIBUTION_SUFFIXES) - set(SHOWN_SUFFIXES)


@pytest.mark.parametrize("kind", [JSON, HTML])
def test_other_formats_are_known_by_their_versions(kind: str) -> None:
    """Distributions in formats that are not shown are known by their filenames and versions."""
    versions = {
        "acme-tool-1.0.tar.bz2": "1.0",
        "acme_tool-1.0rc1-py2.7.egg": "1.0rc1",
        "acme-tool-1.0.win32-py2.7.exe": "1.0",
        "acme-tool-1.0-1.noarch.rpm": "1.0",
        "Acme.Tool-2.0.linux-x86_64.tar.Z": "2.0",
        "acme-tool_1.0-1_all.deb": "1.0",
        "acme-tool.egg": None,
        "acme-core-1.0.tar.bz2": None,
        "acme-tool-extra-1.0.egg": None,
        "acme-tool-1.0.tar.gz.asc": None,
        "acme_tool-1.0-py3-none.whl": None,
    }
    if kind == JSON:
        files = (entry(filename=each, url=f"https://files.example.com/{each}") for each in versions)
        found = parse(page(*files))
    else:
        found = parse("".join(f"<a href='{each}'>" for each in versions).encode(), HTML)
    assert found.files == ()
    expected = {name: each for name, each in versions.items() if each}
    assert {each.filename: each.version for each in found.other_formats} == expected


def test_versions_without_files() -> None:
    """Versions that a page lists without a file stay; what is no version does not."""
    listed = ["0.9", "1.0", "1", "1.0.0", "1.1.0", "v2", "no", 3, None, "1.1.0"]
    assert parse(page(entry(), versions=listed)).empty_versions == ("0.9", "1.1.0", "2")
    assert parse(page(entry(), versions={"1": 2})).empty_versions == ()
    assert (
        len(parse(page(versions=[f"1.{each}" for each in range(20_000)])).empty_versions) == 10_000
    )


def test_long_texts_are_cut() -> None:
    """The reason of a yank is one line, and is cut."""
    (file,) = files_of(entry(yanked="x\r\n" * 2000))

    assert file.yanked == ("x " * 512)


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (b"", JSON, "not the JSON"),
        (b"[]", JSON, "not the JSON"),
        (b"{}", JSON, "lists no files"),
        (b'{"files": {}}', JSON, "not the JSON"),
        (b"[" * 100_000, JSON, "not the JSON"),
        (b'{"files": ' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", JSON, "not the JSON"),
        (b'{"files":[' + b"0," * 2_000_001, JSON, "too much"),
        (b'{"files":[' + b"0," * 100_000 + b"0]}", JSON, "more than"),
        (page(meta={"api-version": "2.0"}), JSON, "version"),
        (page(meta={"api-version": 1.0}), JSON, "version"),
        (page(meta={"api-version": "1" * 5000}), JSON, "version"),
        (page(name="acme-core"), JSON, "another project"),
        (page(name=None), JSON, "another project"),
        (page(name=["acme-tool"]), JSON, "another project"),
        (page(entry(url=f"https://evil.example.com/{WHEEL}")), JSON, "evil.example.com"),
        (page(), "text/plain", "neither"),
        (page(), "", "neither"),
        (b"<h1>Sign in</h1><a href='/login'>here</a>", HTML, "no links to files"),
        (b"<h1>Sign in</h1><form action='/login'>", HTML, "no links to files"),
        (b"<div id=app></div><SCRIPT src='/app.js'></SCRIPT>", HTML, "no links to files"),
        (b"", HTML, "no links to files"),
        (b"It works!", HTML, "no links to files"),
        (b'<meta name="pypi:repository-version" content="2.0">', HTML, "version"),
        (b'<base href="https://[">' + f'<a href="{WHEEL}">'.encode(), HTML, "base"),
        (b"<a href=x>" * 100_001, HTML, "more than"),
    ],
)
def test_pages_that_cannot_be_used(body: bytes, kind: str, why: str) -> None:
    """A page that is not what it should be is an error as a whole."""
    with pytest.raises(FetchError, match=why):
        parse(body, kind)


@pytest.mark.parametrize(
    "body",
    [
        "<title>Links for acme-tool</title>",
        '<title>Links for acme-tool</title><a href="../">All projects</a>',
        '<a href="acme-tool-1.egg">an egg</a>',
        "<!DOCTYPE html><html><body></body></html>",
        "<html><head><title>acme-tool</title></head><body><h1>acme-tool</h1></body></html>",
    ],
)
def test_html_without_usable_files(body: str) -> None:
    """A page in HTML that lists nothing usable is one of a project without files."""
    assert parse(body.encode(), HTML).files == ()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
WORDS = (
    "acme_tool Acme.Tool acme - 1.0 1!2.0rc1+x.1 v1 py3-none-any 2-py3 none any .whl .tar.gz .zip"
)
PARTS = st.sampled_from([*WORDS.split(), "..", "/", "\\", "\n", "a", "cp39.cp310", "__"])
FILENAMES = st.lists(PARTS, max_size=9).map("".join) | st.just(WHEEL) | st.text(max_size=20)
HOSTS = "https:// http:// // files.example.com evil.example.com index.example.com 127.1 [::1]"
SIGNS = "@ : / 8443 .. %2e \\ ? # é"
URL_PARTS = st.sampled_from([*HOSTS.split(), *SIGNS.split(), "\t", " ", WHEEL])
URLS = st.lists(URL_PARTS, max_size=7).map("".join)
ENTRIES = st.fixed_dictionaries(
    {"filename": FILENAMES | JSON_VALUES, "url": URLS | JSON_VALUES},
    optional={
        key: JSON_VALUES | st.just({"sha256": SHA}) | st.just("2025-01-01T00:00:00Z")
        for key in ["hashes", "size", "upload-time", "requires-python", "core-metadata", "yanked"]
    },
)
PAGES = st.fixed_dictionaries(
    {"files": st.lists(ENTRIES | JSON_VALUES, max_size=4) | JSON_VALUES},
    optional=dict.fromkeys(["meta", "name", "project-status", "alternate-locations"], JSON_VALUES),
)
NAMES = "href= data-yanked data-requires-python= content= name= pypi:project-status archived"
TAGS = st.sampled_from(
    ["<a ", "<base ", "<meta ", "'", '"', ">", "#sha256=", SHA, "<!--", "&#x0;", *NAMES.split()]
)
MARKUP = st.lists(TAGS | URLS | FILENAMES, max_size=14).map("".join)


def assert_safe(body: bytes, kind: str) -> None:
    """Assert that a page is either refused in the one way, or has only files that may be shown."""
    try:
        found = parse(body, kind)
    except FetchError:
        return
    assert [file.filename for file in found.files] == sorted({f.filename for f in found.files})
    for file in found.files:
        parsed = parse_filename(file.filename, zip_sdists=True)
        assert (parsed.project, str(parsed.version)) == (NAME, file.version)
        url = parse_url(file.url)
        assert not SERVER.refusal(url)
        assert url.login is None
        assert file.url.isascii()
        assert file.sha256 == "" or len(file.sha256) == 64
        assert (file.yanked or "").isprintable()
        assert (file.requires_python or "").isprintable()
        assert file.uploaded_at is None or file.uploaded_at.tzinfo is UTC


@given(PAGES)
def test_no_json_is_trusted_too_far(content: object) -> None:
    """Whatever a page in JSON has, nothing but the one error comes of it, or safe files."""
    assert_safe(json.dumps(content).encode(), JSON)


@given(MARKUP)
@example(f'<a href="{WHEEL}" data-yanked="\x00">')
def test_no_html_is_trusted_too_far(text: str) -> None:
    """Whatever a page in HTML has, nothing but the one error comes of it, or safe files."""
    assert_safe(text.encode(errors="replace"), HTML)


@given(st.binary(max_size=60), st.sampled_from([JSON, HTML, "text/html; charset=latin1"]))
def test_no_bytes_are_trusted_too_far(body: bytes, kind: str) -> None:
    """Whatever bytes come, nothing but the one error comes of it."""
    assert_safe(body, kind)


@given(FILENAMES)
def test_filenames_are_parsed_as_those_of_uploads(filename: str) -> None:
    """A filename is accepted exactly if it names a distribution of the project."""
    try:
        expected = str(parse_filename(filename, NAME, zip_sdists=True).version)
    except Invalid:
        expected = None

    found = files_of(entry(filename=filename))

    assert [file.version for file in found] == [expected] * (expected is not None)
