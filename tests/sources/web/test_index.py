"""Another index, as it answers in JSON, in HTML, and as no index should."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.clients.tls import running_proxy
from tests.fake_time import Clock
from tests.sources.offering import body_of, offered, opened, sha256, taken
from tests.sources.web.fake_server import HTML, JSON, CannedResponse, FakeServer
from wheelyard.errors import Invalid, Unavailable
from wheelyard.sources import web_index
from wheelyard.sources.web_index import MAX_PROJECTS

WHEEL = "a-1-py3-none-any.whl"
DIGEST = sha256(b"wheel")


def simple(server: FakeServer, *names: str) -> None:
    """Serve a root that lists these projects, in JSON."""
    document = {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in names]}
    server.page("/simple/", json.dumps(document), JSON)


def project(server: FakeServer, name: str, *files: object) -> None:
    """Serve a project's page, in JSON."""
    document = {"meta": {"api-version": "1.1"}, "name": name, "files": files}
    server.page(f"/simple/{name}/", json.dumps(document), JSON)


def test_json_is_kept_whole(server: FakeServer) -> None:
    """Everything that the JSON of an index says of a file is kept."""
    simple(server, "A", "B_lib")
    project(
        server,
        "a",
        {
            "filename": WHEEL,
            "url": f"../../files/{WHEEL}",
            "hashes": {"sha256": DIGEST.upper(), "crc": "1"},
            "size": 5,
            "upload-time": "2018-06-09T23:26:45.5Z",
            "yanked": "bad",
        },
        {"filename": "a-2.tar.gz", "url": "/a-2.tar.gz", "hashes": {}, "yanked": True},
    )
    project(server, "b-lib", {"filename": "b_lib-1.tar.gz", "url": "b", "hashes": {}, "yanked": ""})
    server.file(f"/files/{WHEEL}", b"wheel")

    with opened(f"{server.url}/simple") as source:
        found = offered(source.candidates())
        assert body_of(found[WHEEL]) == b"wheel"

    assert source.kind == "index"
    assert [each.filename for each in found.candidates] == [WHEEL, "a-2.tar.gz", "b_lib-1.tar.gz"]
    assert [each.project for each in found.candidates] == ["a", "a", "b-lib"]
    wheel = found[WHEEL]
    assert (wheel.hashes, wheel.size, wheel.yanked) == ({"sha256": DIGEST}, 5, "bad")
    assert wheel.uploaded_at == datetime(2018, 6, 9, 23, 26, 45, 500_000, tzinfo=UTC)
    assert (found["a-2.tar.gz"].yanked, found["b_lib-1.tar.gz"].yanked) == ("", None)
    assert wheel.location == f"{server.url}/files/{WHEEL}"
    asked = server.asked("/simple/")[0].headers["accept"]
    assert asked.startswith("application/vnd.pypi.simple.v1+json, ")


def test_html_is_read_as_pip_reads_it(server: FakeServer) -> None:
    """HTML is read as pip reads it: base, fragments, yanks, and whatever a person has written."""
    server.page("/simple/", '<a href="https://example.com/">Powered by</a><A HREF="a/">A</A>')
    server.page(
        "/simple/a/",
        f"""<!DOCTYPE html><head><base href="{server.url}/pool/"></head><body>
        <a href='a-1-py3-none-any.whl#sha256={DIGEST}' data-requires-python='&gt;=3.8'>x</a>
        <a data-yanked="broken &amp; &#34;bad&#34;" href="a-2.tar.gz">
        <a data-yanked href="sub dir/a%2B3-3.zip?x=1&amp;y=2#md5={"0" * 32}&egg=a"><a href=>
        <a href="a-1-py3-none-any.whl.metadata"></a><a href="mailto:ana@example.com"></a>
        <a href="..">up</a><a href="old/">old</a></body>""",
    )
    server.file(f"/pool/{WHEEL}", b"wheel", Last_Modified="Sat, 09 Jun 2018 23:26:45 GMT")

    with opened(f"{server.url}/simple/") as source:
        found = offered(source.candidates())
        wheel = found[WHEEL]
        assert wheel.last_modified is not None
        assert body_of(wheel) == b"wheel"
        assert wheel.last_modified() == datetime(2018, 6, 9, 23, 26, 45, tzinfo=UTC)

    assert [each.filename for each in found.candidates] == [WHEEL, "a-2.tar.gz", "a+3-3.zip"]
    assert (wheel.hashes, wheel.yanked) == ({"sha256": DIGEST}, None)
    assert found["a-2.tar.gz"].yanked == 'broken & "bad"'
    assert (found["a+3-3.zip"].yanked, found["a+3-3.zip"].hashes) == ("", {"md5": "0" * 32})
    assert found["a+3-3.zip"].location == f"{server.url}/pool/sub%20dir/a%2B3-3.zip"
    assert [each.location for each in found.passed_over] == [f"{server.url}/pool/old/"]
    assert [each.method for each in server.asked(f"/pool/{WHEEL}")] == ["GET"]


def test_folders_of_nginx_are_an_index(server: FakeServer) -> None:
    """Folders as nginx lists them are an index, and so are pages that are files each."""
    head = "<html><head><title>Index of /</title></head><body><h1>Index of /</h1><hr><pre>"
    up = '<a href="../">../</a>\n'
    line = f'<a href="{WHEEL}">{WHEEL}</a>   09-Jun-2018 23:26    5\n'
    server.page("/pkgs/", f'{head}{up}<a href="a/">a/</a>      09-Jun-2018 23:26    -\n')
    server.page("/pkgs/a/", f"{head}{up}{line}")
    server.page("/flat/", f"{head}{up}{line}")

    server.page("/static/index.html", '<li><a href="a/index.html">a</a></li>')
    server.page("/static/a/index.html", f'<a\n href="../../pool/{WHEEL}#sha256={DIGEST}"\n>x</a>')

    _, found = taken(f"{server.url}/static/index.html")
    assert found[WHEEL].location == f"{server.url}/pool/{WHEEL}"
    server.seen.clear()
    assert taken(f"{server.url}/pkgs/")[1].names == [WHEEL]
    assert taken(f"{server.url}/flat/")[1].names == [WHEEL]
    assert {each.path for each in server.seen} == {"/pkgs/", "/pkgs/a/", "/flat/"}


def test_only_the_wanted_projects_are_read(server: FakeServer) -> None:
    """Projects that are named are asked for without the list; with a pattern the list is read."""
    simple(server, "a", "abc", "b")
    for name in ("a", "abc"):
        project(server, name, {"filename": f"{name}-1.zip", "url": "x", "hashes": {}})
    server.serve("/simple/gone/", CannedResponse(status=410))

    _, found = taken(f"{server.url}/simple/", projects=("A", "nope", "gone"))
    assert (found.names, server.asked("/simple/")) == (["a-1.zip"], [])
    assert [each.why for each in found.faults] == ["the index has no such project"] * 2

    assert taken(f"{server.url}/simple/", projects=("a*",))[1].names == ["a-1.zip", "abc-1.zip"]
    assert server.asked("/simple/b/") == []


def test_a_damaged_page_costs_itself(server: FakeServer) -> None:
    """A page that is missing or damaged is told of, and the others are read."""
    simple(server, "a", "bare", "broken", "gone", "odd", "odd/a", "z")
    server.page("/simple/bare/", '{"name": "bare"}', JSON)
    server.page("/simple/broken/", "{", JSON)
    project(
        server,
        "odd",
        7,
        {"filename": WHEEL},
        {"filename": WHEEL, "url": "x", "hashes": {"sha256": "no"}},
        {"filename": WHEEL, "url": "file:///etc/passwd", "hashes": {}},
        {"filename": "notes.txt", "url": "x", "hashes": {}},
        {"filename": f"{WHEEL}.asc", "url": "y", "hashes": {}},
        {"filename": "o-1.zip", "url": "x", "hashes": [], "size": -1, "upload-time": "soon"},
    )
    for name in "az":
        project(server, name, {"filename": f"{name}-1.zip", "url": "x", "hashes": {}})

    _, found = taken(f"{server.url}/simple/")

    assert found.names == ["a-1.zip", "o-1.zip", "z-1.zip"]
    assert (found["o-1.zip"].size, found["o-1.zip"].uploaded_at) == (None, None)
    assert len(found.faults) == 7
    assert "its page lists no files" in {each.why for each in found.faults}
    assert [each.location for each in found.passed_over if not each.is_error] == [
        f"{server.url}/simple/gone/",
        f"{server.url}/simple/odd/x",
    ]


def test_a_packed_page(server: FakeServer) -> None:
    """Pages come packed, and one that would fill the memory is not read to its end."""
    page = json.dumps({"files": [{"filename": "a-1.zip", "url": "x", "hashes": {}}]}).encode()
    packed = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    simple(server, "a", "bomb", "cut", "odd")
    server.serve("/simple/a/", CannedResponse(gzip.compress(page), headers=packed))
    server.serve("/simple/bomb/", CannedResponse(gzip.compress(bytes(65 << 20), 1), headers=packed))
    server.serve("/simple/cut/", CannedResponse(gzip.compress(page)[:-9], headers=packed))
    server.serve("/simple/odd/", CannedResponse(page, headers={"Content-Encoding": "br"}))

    _, found = taken(f"{server.url}/simple/")

    assert found.names == ["a-1.zip"]
    assert sorted(each.why for each in found.faults) == [
        "its answer is cut off",
        "its answer is larger than 64 MiB",
        "its answer is packed in a way that nobody asked for",
    ]
    assert server.asked("/simple/a/")[0].headers["accept-encoding"] == "gzip"


def test_what_fails_in_passing_is_asked_again(server: FakeServer) -> None:
    """What fails in passing is asked again, after as long as the server says, or a minute."""
    simple(server, "a")
    good = CannedResponse(b'{"files": []}', headers={"Content-Type": JSON})
    busy, days = (
        CannedResponse(status=429, headers={"Retry-After": each}) for each in ("30", "86400")
    )
    server.serve("/simple/a/", days, busy, CannedResponse(b"{" * 99, breaks_at=7), good)
    clock = Clock()

    with opened(f"{server.url}/simple/", clock) as source:
        found = offered(source.candidates())

    assert found.passed_over == []
    assert len(server.asked("/simple/a/")) == 4
    assert clock.pauses[:2] == [60.0, 30.0]


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("Thu, 01 Jan 2026 00:00:20 GMT", 20, 20),
        ("Sat, 09 Jun 2018 23:26:45 GMT", 0, 1),
        ("-1", 0, 1),
        ("1.5", 0, 1),
        ("soon", 0, 1),
        ("", 0, 1),
    ],
)
def test_patience_in_other_words(server: FakeServer, asked: str, least: float, most: float) -> None:
    """A server is asked again at the date that it says, and soon if it says something else."""
    simple(server, "a")
    busy = CannedResponse(status=503, headers={"Retry-After": asked})
    server.serve(
        "/simple/a/", busy, CannedResponse(b'{"files": []}', headers={"Content-Type": JSON})
    )
    clock = Clock()

    with opened(f"{server.url}/simple/", clock) as source:
        assert offered(source.candidates()).passed_over == []

    (pause,) = clock.pauses
    assert least <= pause <= most


def test_a_server_that_fails(server: FakeServer) -> None:
    """A server that answers nothing but faults ends the import; it may be run again."""
    simple(server, *(f"p{number}" for number in range(50)))
    for number in range(50):
        server.serve(f"/simple/p{number}/", CannedResponse(status=502))

    with pytest.raises(Unavailable) as raised:
        taken(f"{server.url}/simple/")

    assert raised.value.code == "source_unavailable"
    assert len(server.seen) < 150


@pytest.mark.integration
def test_a_server_that_is_not_there_is_told_of() -> None:
    """A server that is not there is told of after some tries."""
    clock = Clock()
    with (
        pytest.raises(Unavailable, match="cannot be reached"),
        opened("http://127.0.0.1:9/simple/", clock) as source,
    ):
        list(source.candidates())

    assert len(clock.pauses) == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (CannedResponse(status=404), "status 404"),
        (CannedResponse(status=401), "~/.netrc"),
        (CannedResponse(status=403), "status 403"),
        (CannedResponse(b'{"files": []}', headers={"Content-Type": JSON}), "lists no projects"),
        (CannedResponse(status=302, headers={"Location": "/simple/"}), "more than 10 times"),
        (CannedResponse(status=302, headers={"Location": "ftp://example.com/"}), "no URL"),
    ],
)
def test_what_is_no_index(server: FakeServer, answer: CannedResponse, words: str) -> None:
    """What is no index is refused with why, and never with the credential."""
    server.serve("/simple/", answer)

    with pytest.raises(Invalid, match=words) as raised:
        taken(f"{server.url.replace('//', '//ana:secret@')}/simple/")

    assert (raised.value.code, "secret" in raised.value.message) == ("bad_source", False)


@pytest.mark.parametrize("most", [3, pytest.param(MAX_PROJECTS, marks=pytest.mark.slow)])
def test_too_many_projects(server: FakeServer, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """An index that stands before a public one is not copied by accident."""
    monkeypatch.setattr(web_index, "MAX_PROJECTS", most)
    simple(server, *(f"p{number}" for number in range(most + 1)))
    for number in range(3):
        project(server, f"p{number}")

    with pytest.raises(Invalid, match="--project"):
        taken(f"{server.url}/simple/")


@pytest.mark.integration
def test_a_certificate_that_nobody_vouches_for(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates are verified; files that are linked by http from a page of https are refused."""
    simple(server, "a")
    links = [f"{server.url}/{WHEEL}", "a-2.tar.gz"]
    files = [{"filename": each.rpartition("/")[2], "url": each, "hashes": {}} for each in links]
    project(server, "a", *files)
    with running_proxy(tmp_path, server.url.removeprefix("http://")) as proxy:
        with pytest.raises(Unavailable, match="certificate"):
            taken(f"{proxy.url}/simple/")

        monkeypatch.setenv("SSL_CERT_FILE", str(proxy.authority))
        _, found = taken(f"{proxy.url}/simple/")

        assert found.names == ["a-2.tar.gz"]
        moved = CannedResponse(status=301, headers={"Location": "/simple/a/"})
        server.serve("/moved/a/", moved)
        server.page("/moved/", '<a href="a/">a</a>')
        assert taken(f"{proxy.url}/moved/")[1].names == ["a-2.tar.gz"]
        assert [each.why for each in found.faults] == ["it is linked by http from a page of https"]
        server.page("/plain/", f'<base href="{server.url}/plain/"><a href="a/">a</a>')
        (fault,) = taken(f"{proxy.url}/plain/")[1].faults
        assert fault.why == "it is linked by http from a page of https"
        server.serve(
            "/simple/a/", CannedResponse(status=302, headers={"Location": f"{server.url}/a/"})
        )
        _, found = taken(f"{proxy.url}/simple/")
        assert [each.why for each in found.faults] == ["it leads from https to http"]


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "bad",
    [
        "<a href=x><![zz]><a href='&#" + "9" * 5000 + ";/b-1.zip'>",
        "<a " * 100_000,
        f"<base href='{'x' * 9000}'><a href=b-1.zip>",
        DEEP,
        '{"files": [' + DEEP,
        '{"files": [' + ",".join(["0"] * 200_001) + "]}",
        '{"files": [' + ",".join(["0"] * 4_000_002) + "]}",
    ],
    ids=["marked", "open", "base", "deep", "deep-file", "files", "commas"],
)
def test_pages_that_do_harm(server: FakeServer, bad: str) -> None:
    """A page that is made to do harm costs itself, and the rest is read."""
    simple(server, "a", "b", "c")
    for name in "ac":
        project(server, name, {"filename": f"{name}-1.zip", "url": "x", "hashes": {}})
    server.page("/simple/b/", bad, JSON if bad.startswith("{") else HTML)

    assert taken(f"{server.url}/simple/")[1].names == ["a-1.zip", "c-1.zip"]


def test_one_entry_that_does_harm(server: FakeServer) -> None:
    """Of a page in JSON, an entry without end costs itself."""
    good = {"filename": "a-1.zip", "url": "x", "hashes": {}}
    simple(server, "a")
    project(server, "a", {**good, "hashes": [1] * 50_000}, good)

    found = taken(f"{server.url}/simple/")[1]

    assert (found.names, len(found.faults)) == (["a-1.zip"], 1)
