"""Changes and uploads by forms at a server of its own process, by a browser with Basic."""

from html import unescape

import pytest

from tests.distributions import make_wheel
from tests.http.servers import RunningServer

pytestmark = pytest.mark.integration

MANAGE = "/project/demo/manage/"
WHEEL = "demo-1.0-py3-none-any.whl"


def token_of(server: RunningServer, path: str, auth: tuple[str, str]) -> str:
    """Return the anti-forgery token of a page."""
    page = server.client.get(path, auth=auth)
    assert page.status_code == 200, page.text
    return unescape(page.text).split('name="csrf_token" value="')[1].split('"')[0]


def test_forms_change_a_project(private: RunningServer) -> None:
    """A release is yanked, unyanked and deleted, and the status set; the journal has who did it."""
    auth, client = ("__token__", private.token), private.client
    token = token_of(private, f"{MANAGE}?action=status", auth)
    changes: tuple[dict[str, str], ...] = (
        {"action": "yank", "version": "1.0", "file": WHEEL},
        {"action": "unyank", "version": "1.0", "file": WHEEL},
        {"action": "status", "status": "deprecated"},
        {"action": "delete", "version": "1.0", "file": WHEEL, "confirmation": "demo 1.0"},
    )
    for change in changes:
        answer = client.post(MANAGE, data={"csrf_token": token, **change}, auth=auth)
        assert answer.status_code == 303, answer.text
        assert client.get(answer.headers["location"], auth=auth).status_code == 200

    commits = client.get("/api/v1/projects/demo/journal", auth=auth).json()["commits"]
    events = [commit["events"][0] for commit in commits]
    assert [event["what"] for event in events[1:]] == ["yanked", "unyanked", "status", "deleted"]
    assert {each["by_name"] for each in events[1:]} == {"first token, made by serve"}


def test_form_uploads_a_file(private: RunningServer) -> None:
    """A file is uploaded by the form, and the page links to its project."""
    auth, path = ("__token__", private.token), "/-/upload/"
    data, file = {"csrf_token": token_of(private, path, auth)}, make_wheel("one")
    files = [("content", (file.filename, file.body))]

    answer = private.client.post(path, data=data, files=files, auth=auth)

    assert answer.status_code == 200, answer.text
    assert "../../project/one/" in answer.text
