"""`/api/v1/`: what can be read of projects, and what can be done to them."""

import pytest

from tests.distributions import make_wheel
from tests.http.in_process import InProcessResponse, InProcessServer
from tests.http.packages import post_form

API = "/api/v1/projects"
NO_FILE = "file must be a string or a list of one or more strings."


def test_list_has_the_names_in_order(stocked_app: InProcessServer) -> None:
    """The list has the names that may be read, in order."""
    answer = stocked_app.get(API)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    names = [project["name"] for project in answer.json()["projects"]]
    assert {"demo", "epoch", "local"} <= set(names)
    assert answer.json() == {"projects": [{"name": name} for name in sorted(names)]}


def test_project_has_its_files_and_status(stocked_app: InProcessServer) -> None:
    """A project has its status, its files with who brought them, and what was deleted."""
    page = stocked_app.get(f"{API}/demo").json()

    assert page.keys() == {
        *("name", "revision", "project-status", "summary", "files", "deleted", "commit", "trash"),
    }
    assert (page["summary"], page["commit"]["number"]) == ("A demo of <b>it</b>", 3)
    assert (page["name"], page["revision"], page["deleted"]) == ("demo", 3, [])
    assert page["project-status"] == {"status": "active"}
    simple = stocked_app.get("/simple/demo/", ("Accept", "application/json")).json()["files"]
    assert [file["sha256"] for file in page["files"]] == [f["hashes"]["sha256"] for f in simple]


def test_file_says_who_brought_it(stocked_app: InProcessServer) -> None:
    """A file has the token that it was uploaded with, and what else is known of it."""
    login = stocked_app.bearer()
    post_form(stocked_app, make_wheel("brought", "1.0", "Requires-Python: >=3.9"), login)
    (file,) = stocked_app.get(f"{API}/brought").json()["files"]

    assert file.keys() == {
        *("filename", "version", "sha256", "size", "upload-time", "uploaded-by"),
        *("requires-python", "yanked", "uploaded-by-name"),
        *("core-metadata", "imported", "waived-rules"),
    }
    assert file["uploaded-by"] == f"token:{login[1][11:21]}"


def test_lost_commits_are_named(stocked_app: InProcessServer) -> None:
    """The numbers of commits that the journal has lost are in the response, beside the others."""
    stocked_app.publish(
        make_wheel("hole", "1.0"), make_wheel("hole", "1.1"), make_wheel("hole", "1.2")
    )
    assert "lost" not in stocked_app.get(f"{API}/hole/journal").json()
    (stocked_app.folder / "store" / "journal" / "hole" / "0000000002.json").unlink()

    page = stocked_app.get(f"{API}/hole/journal").json()

    assert ([commit["number"] for commit in page["commits"]], page["lost"]) == ([1, 3], [2])


def sent(
    app: InProcessServer, verb: str, body: bytes, kind: str = "application/json"
) -> InProcessResponse:
    """Send the body of a change of demo, whatever it is."""
    return app.send(f"{API}/demo/{verb}", body, app.bearer(), kind=kind)


def test_deleted_files_come_back(stocked_app: InProcessServer) -> None:
    """A deleted file is refused by its key until it is restored; managers remove no bytes."""
    stocked_app.publish(make_wheel("bin", "1.0"))
    (file,) = stocked_app.get(f"{API}/bin").json()["files"]
    url = f"/files/bin/{file['sha256']}/{file['filename']}"

    deleted = stocked_app.change("bin", "delete", version="1.0").json()
    assert deleted["keep_until"] == deleted["trash"][0]["keep_until"]
    assert [stocked_app.get(f"{url}{more}").status for more in ("", ".metadata")] == [404, 404]
    assert stocked_app.change("bin", "restore", version="1.0").json()["files"] == [file]
    assert stocked_app.get(url).status == 200

    answer = sent(stocked_app, "delete-now", b'{"sha256": "%s"}' % file["sha256"].encode())
    assert (answer.status, answer.json()["error"]) == (403, "forbidden")
    assert stocked_app.get(url).status == 200


@pytest.mark.parametrize(
    ("verb", "body", "status", "error"),
    [
        ("yank", b"", 400, "invalid_field"),
        ("yank", b'{"version": "1.0", "reason": "' + b"x" * 2000 + b'"}', 400, "invalid_field"),
        ("yank", b'{"version": "1.0", "reason": "\xff"}', 400, "invalid_field"),
        ("yank", b'{"version": "1.0", "reason": "\\ud800"}', 400, "invalid_field"),
        ("yank", b'{"version": "1.0", "file": "\\udcff"}', 400, "invalid_field"),
        ("yank", b'{"version": "1.0", "\xff": 1}', 400, "invalid_field"),
        ("yank", b'\xef\xbb\xbf{"version": "1.0"}', 400, "invalid_field"),
        ("yank", b"[" * 60_000, 400, "invalid_field"),
        ("yank", b" " * 70_000, 413, "too_large"),
        ("yank", b'{"version": "1.0", "file": "../../x"}', 404, "not_found"),
        ("delete", b'{"version": null}', 400, "invalid_field"),
        ("delete", b'{"versions": ""}', 400, "invalid_field"),
        ("delete", b'{"version": "1.0", "now": true}', 400, "invalid_field"),
        ("delete-now", b'{"sha256": "%s"}' % (b"0" * 64), 403, "forbidden"),
        ("delete-now", b'{"version": "1.0"}', 400, "invalid_field"),
        ("delete-now", b'{"sha256": 1}', 400, "invalid_field"),
        ("restore", b'{"version": "1.0", "now": true}', 400, "invalid_field"),
        ("restore", b'{"version": "1.0"}', 200, None),
        ("status", b'{"status": 1}', 400, "invalid_field"),
    ],
)
def test_wrong_change_changes_nothing(
    stocked_app: InProcessServer, verb: str, body: bytes, status: int, error: str | None
) -> None:
    """A change that makes no sense, or that is done already, changes nothing."""
    before = stocked_app.get(f"{API}/demo").json()
    answer = sent(stocked_app, verb, body)
    assert (answer.status, answer.json().get("error")) == (status, error)
    assert answer.headers["content-type"] == "application/json"
    assert stocked_app.get(f"{API}/demo").json() == before


@pytest.mark.parametrize(
    ("verb", "body", "short"),
    [
        ("yank", "nonsense", "the body is not JSON."),
        ("yank", "[]", "the body is no JSON object."),
        ("yank", "{}", "version is missing."),
        ("yank", '{"version": "1", "versions": "<2"}', "version or versions, not both."),
        ("yank", '{"version": "1", "dry_run": 1}', "dry_run must be true or false."),
        ("yank", '{"version": 1}', "version must be a string."),
        ("yank", '{"version": "1.0", "x": 1}', "unknown field 'x'."),
        ("yank", '{"version": "1.0", "file": 1}', NO_FILE),
        ("delete", '{"version": "1.0", "file": []}', NO_FILE),
        ("status", '{"reason": "x"}', "status is missing."),
        (
            "status",
            '{"status": "happy"}',
            "status must be one of active, archived, quarantined, deprecated.",
        ),
    ],
)
def test_wrong_body_is_explained(
    stocked_app: InProcessServer, verb: str, body: str, short: str
) -> None:
    """What is wrong with a change is said in the words of the API."""
    answer = sent(stocked_app, verb, body.encode(), "application/json; charset=utf-8")
    assert (answer.status, answer.json()["code"]) == (400, f"400 {short}")
    assert answer.json()["message"].startswith(f"{short} Send ") or "Correct" in answer.text


def test_answers_show_nothing_in_a_browser(stocked_app: InProcessServer) -> None:
    """Neither an answer of the API nor a refusal may load or frame anything."""
    for path in (API, f"{API}/demo", f"{API}/demo/journal", "/simple/nothing/", "/a/b/c"):
        policy = stocked_app.get(path).headers["content-security-policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize(
    "after", ["", "-1", "+1", "1.5", "x", "%D9%A1", "1_0", "9" * 5000, "1&after=2"]
)
def test_journal_is_read_behind_a_commit_number(stocked_app: InProcessServer, after: str) -> None:
    """A journal is read on behind the number of a commit, and behind nothing else."""
    answer = stocked_app.get(f"{API}/demo/journal?after={after[:3000]}")
    assert (answer.status, answer.json()["error"]) == (400, "invalid_field")


def test_rest_of_a_journal_is_asked_for_by_number(stocked_app: InProcessServer) -> None:
    """What follows a commit is asked for by its number, and may be nothing."""
    commits = stocked_app.get(f"{API}/demo/journal").json()["commits"]
    for after in range(len(commits) + 2):
        page = stocked_app.get(f"{API}/demo/journal?after={after}").json()
        assert page == {"name": "demo", "revision": len(commits), "commits": commits[after:]}
    assert stocked_app.get(f"{API}/demo/journal?x=1").json()["commits"] == commits


@pytest.mark.parametrize("since", ["", "yesterday", "2026-01-31", "2026-01-31T12:00:00"])
def test_time_without_an_offset_is_refused(stocked_app: InProcessServer, since: str) -> None:
    """A time means nothing without its offset."""
    answer = stocked_app.get(f"{API}?changed-since={since}")

    assert (answer.status, answer.json()["error"]) == (400, "invalid_field")
    assert answer.json()["message"].endswith(" Correct it and send the request again.")


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonfoo"]
)
def test_only_json_is_taken(stocked_app: InProcessServer, kind: str) -> None:
    """A change has to say that it is JSON: a form in a web page cannot."""
    answer = sent(stocked_app, "yank", b'{"version": "1.0"}', kind)
    assert (answer.status, answer.json()["error"]) == (415, "unsupported_media_type")
