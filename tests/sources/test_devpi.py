"""Exports of devpi, as an index is imported from them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.refused import refused
from tests.sources.offering import JUNE, WHEEL, md5, sha256, taken
from wheelyard.errors import Invalid


def entry(
    index: str, name: str, body: bytes, *log: dict[str, Any], **more: object
) -> dict[str, Any]:
    """Return a file of `dataindex.json`, as devpi-server 6.20.3 writes it."""
    return {
        "version": "1",
        "entrymapping": {
            "last_modified": "Fri, 20 Nov 2020 14:24:03 GMT",
            "hash_spec": f"sha256={sha256(body)}",
            "hashes": {"sha256": sha256(body)},
            "project": "a",
            "version": "1",
        },
        "log": list(log),
        "type": "releasefile",
        "projectname": "a",
        "relpath": f"{index}/a/1/{name}",
        **more,
    }


UPLOAD = {"what": "upload", "who": "ana", "when": [2018, 6, 9, 23, 26, 45], "dst": "ana/dev"}
PUSH = {"what": "push", "who": "bob", "when": [2019, 1, 1, 0, 0, 0], "src": "ana/dev"}


MIRROR = {
    "indexconfig": {"type": "mirror"},
    "files": [entry("root/up", "m-1.tar.gz", b"x")],
}


def write(folder: Path, indexes: dict[str, Any], version: str = "2") -> Path:
    """Write an export with a body `x` for each file that it names."""
    for index in indexes.values():
        for each in index["files"]:
            path = folder / each["relpath"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    users = {"ana": {"pwhash": "$argon2id$secret"}}
    dump = {"dumpversion": version, "users": users, "indexes": indexes}
    folder.mkdir(exist_ok=True)
    (folder / "dataindex.json").write_text(json.dumps(dump))
    return folder


def test_times_and_uploaders_are_those_of_the_first_upload(tmp_path: Path) -> None:
    """Times and uploaders are those of the first upload, also of a file that was pushed."""
    pushed = entry("ana/prod", WHEEL, b"x", UPLOAD, PUSH)
    silent = entry("ana/prod", "b-1.tar.gz", b"x")
    index = {"indexconfig": {"type": "stage"}, "projects": {"a": {}}, "files": [pushed, silent]}

    kind, found = taken(write(tmp_path / "out", {"ana/prod": index}))

    assert kind == "devpi"
    assert found[WHEEL].hashes == {"sha256": sha256(b"x")}
    assert (found[WHEEL].uploaded_at, found[WHEEL].uploaded_by) == (JUNE, "ana")
    assert found["b-1.tar.gz"].uploaded_at == datetime(2020, 11, 20, 14, 24, 3, tzinfo=UTC)
    assert found["b-1.tar.gz"].uploaded_by == ""


@pytest.mark.parametrize(
    ("project", "names"), [("a", ["a-1-2.tar.gz"]), ("a-1", [])], ids=["its own", "another"]
)
def test_the_project_of_a_file_is_what_the_export_says(
    tmp_path: Path, project: str, names: list[str]
) -> None:
    """A file is taken with its own project alone, also if its name may be of another one."""
    index = {"indexconfig": {"type": "stage"}, "files": [entry("ana/dev", "a-1-2.tar.gz", b"x")]}
    export = write(tmp_path / "out", {"ana/dev": index})

    assert taken(export, projects=(project,))[1].names == names


def test_a_linked_folder(tmp_path: Path) -> None:
    """A file that the export names by way of a link to a folder elsewhere is not taken."""
    index = {"indexconfig": {"type": "stage"}, "files": [entry("ana/prod", WHEEL, b"x")]}
    export = write(tmp_path / "out", {"ana/prod": index})
    (export / "ana").rename(tmp_path / "elsewhere")
    (export / "ana").symlink_to(tmp_path / "elsewhere")

    _, found = taken(export)

    assert found.candidates == []
    assert [each.is_error for each in found.passed_over] == [True]


def test_one_of_several_indexes_has_to_be_chosen(tmp_path: Path) -> None:
    """Of several indexes one has to be chosen; mirrored files are taken if asked for."""
    indexes = {
        "ana/dev": {"files": [entry("ana/dev", WHEEL, b"x", UPLOAD)]},
        "ana/prod": {"files": [entry("ana/prod", "b-1.tar.gz", b"x", UPLOAD)]},
        "ana/empty": {"files": []},
        "root/up": {
            "indexconfig": {"type": "mirror"},
            "files": [entry("root/up", "m-1.tar.gz", b"x")],
        },
    }
    folder = write(tmp_path / "out", indexes)

    with pytest.raises(Invalid, match="ana/dev, ana/prod"):
        taken(folder)
    with pytest.raises(Invalid, match="'ana/nope'"):
        taken(folder, indexes=("ana/nope",))

    dev = taken(folder, indexes=("ana/dev",))[1]
    assert (dev.names, len(dev.passed_over)) == ([WHEEL], 2)
    assert taken(folder, indexes=("ana/prod", "root/up"))[1].names == ["b-1.tar.gz", "m-1.tar.gz"]

    del indexes["ana/prod"]
    folder = write(tmp_path / "less", indexes)
    assert taken(folder)[1].names == [WHEEL]
    assert taken(folder, mirrors=True)[1].names == [WHEEL, "m-1.tar.gz"]


@pytest.mark.parametrize(
    ("indexes", "chosen", "message"),
    [
        ({}, (), r"no index in this export.*\(--serverdir\)"),
        ({"ana/dev": {"files": []}}, (), r"This export has ana/dev \(0 packages\).*export again"),
        ({"root/up": MIRROR}, (), r"root/up \(a mirror, 1 package\)\. --mirrors imports"),
        (
            {"ana/dev": {"files": []}, "ana/prod": {"files": [entry("ana/prod", WHEEL, b"x")]}},
            ("ana/dev",),
            r"ana/prod \(1 package\)\. Choose another one with --index",
        ),
    ],
)
def test_nothing_to_import(
    tmp_path: Path, indexes: dict[str, Any], chosen: tuple[str, ...], message: str
) -> None:
    """An export without packages is refused, with what it has instead and what to do."""
    with pytest.raises(Invalid, match=message):
        taken(write(tmp_path / "out", indexes), indexes=chosen)


def test_what_is_no_package(tmp_path: Path) -> None:
    """Documentation and results of tests are counted, not taken; missing files are faults."""
    files = [
        entry("ana/dev", WHEEL, b"x", UPLOAD),
        entry("ana/dev", "a-1.doc.zip", b"x", type="doczip"),
        entry("ana/dev", "t0", b"x", type="toxresult"),
        entry("ana/dev", "t1", b"x", type="toxresult"),
    ]
    folder = write(tmp_path / "out", {"ana/dev": {"files": files}})
    dump = json.loads((folder / "dataindex.json").read_text())
    gone, outside, odd, damaged = (entry("ana/dev", f"{n}-1.tar.gz", b"x") for n in "good")
    outside["relpath"] = "../outside-1.tar.gz"
    odd["relpath"] = "odd\0-1.tar.gz"
    damaged["entrymapping"]["hashes"] = {"sha256": "no"}
    (tmp_path / "outside-1.tar.gz").write_bytes(b"x")
    (folder / damaged["relpath"]).write_bytes(b"x")
    dump["indexes"]["ana/dev"]["files"] += [gone, outside, odd, damaged]
    (folder / "dataindex.json").write_text(json.dumps(dump))

    _, found = taken(folder)

    assert found.names == [WHEEL]
    assert len(found.faults) == 4
    assert [each.why for each in found.passed_over if not each.is_error] == [
        "1 file is documentation",
        "2 files are results of tests",
    ]


def test_an_old_export(tmp_path: Path) -> None:
    """An export of the first version has MD5 digests."""
    old = entry("ana/dev", WHEEL, b"x", UPLOAD)
    old["entrymapping"] = {"md5": md5(b"x"), "last_modified": None}
    folder = write(tmp_path / "out", {"ana/dev": {"files": [old]}}, version="1")

    assert taken(folder)[1][WHEEL].hashes == {"md5": md5(b"x")}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read, or is none"),
        ("[]", "cannot be read, or is none"),
        ('{"indexes": {}, "dumpversion": "9"}', "Export again with devpi-server 6"),
    ],
    ids=["cut off", "a list", "a later version"],
)
def test_what_is_no_export(tmp_path: Path, text: str, why: str) -> None:
    """A damaged export, a later version's, and a folder without one are refused."""
    (tmp_path / "dataindex.json").write_text(text)

    with refused(Invalid, "bad_source", why):
        taken(tmp_path)
    with pytest.raises(Invalid, match="devpi-export"):
        taken(tmp_path.parent, kind="devpi")


@pytest.mark.parametrize(("said", "project"), [("My_Lib", "my-lib"), (None, "")])
def test_the_project_of_a_file(tmp_path: Path, said: str | None, project: str) -> None:
    """The export says of which project a file is, whatever hyphens its version has."""
    file = entry("ana/prod", "my-lib-1.0-1.tar.gz", b"x", projectname=said)
    index = {"indexconfig": {"type": "stage"}, "files": [file]}

    _, found = taken(write(tmp_path / "out", {"ana/prod": index}))

    assert found["my-lib-1.0-1.tar.gz"].project == project
