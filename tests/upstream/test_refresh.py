"""A page is asked for now: by the API, and by `Cache-Control: no-cache` of whoever may upload."""

import json
from pathlib import Path

import pytest

from tests.http.servers import token_of
from tests.upstream.fake_pages import basic
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import page_of
from tests.upstream.settings import front
from wheelyard.settings.sections import AccessSettings

API = "/api/v1/upstream/refresh"


def test_pages_from_no_cache(upstream: FakeUpstream, tmp_path: Path) -> None:
    """`no-cache` of whoever may upload asks the upstream, once a second; others' is ignored."""
    upstream.publish(public_wheel("requests", "1.0"))
    with front(tmp_path, upstream, access=AccessSettings(private=True)) as server:
        upload, read = (
            {"authorization": basic("__token__", token_of(server.index, can=can))}
            for can in ("read,upload", "read")
        )
        no_cache = {"cache_control": "max-age=0, No-Cache"}
        assert len(page_of(server, "requests", **read).files) == 1
        assert page_of(server, "late", **read).status == 404
        upstream.publish(public_wheel("requests", "2.0"), public_wheel("late", "1.0"))
        server.clock.advance(seconds=2)
        before = len(upstream.requests)

        for headers in (
            read,
            upload,
            {**read, **no_cache},
            {**upload, "cache_control": "max-age=0"},
        ):
            assert len(page_of(server, "requests", **headers).files) == 1
            assert page_of(server, "late", **headers).status == 404
        assert len(upstream.requests) == before
        for _ in range(3):
            assert len(page_of(server, "requests", **upload, **no_cache).files) == 2
            assert len(page_of(server, "late", **upload, **no_cache).files) == 1
        assert len(upstream.requests) == before + 2
        assert len(page_of(server, "requests", **read).files) == 2
        assert page_of(server, "team-x", **upload, **no_cache).files == {}
        upstream.stop()
        server.clock.advance(seconds=2)
        assert page_of(server, "requests", **upload, **no_cache).status == 200


def test_the_api_says_what_has_come(upstream: FakeUpstream, tmp_path: Path) -> None:
    """The API says what has come, for whoever may upload; private names are never asked for."""
    upstream.publish(public_wheel("requests", "1.0"))
    private = AccessSettings(private=True)
    with front(tmp_path, upstream, access=private, deny=("evil",)) as server:
        tokens = {can: token_of(server.index, can=can) for can in ("read,upload", "read")}

        def refresh(name: str, can: str = "read,upload") -> tuple[int, dict[str, object]]:
            body = json.dumps({"project": name}).encode()
            headers = (
                ("authorization", basic("__token__", tokens[can])),
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
            )
            answer = server.get(API, *headers, method="POST", body=(body,))
            return answer.status, json.loads(answer.body)

        reader = {"authorization": basic("__token__", tokens["read"])}
        assert len(page_of(server, "requests", **reader).files) == 1
        upstream.publish(public_wheel("requests", "2.0"))
        status, found = refresh("Requests")
        assert (status, found["upstream"], found["files"]) == (200, "public", 2)
        assert (found["new"], found["removed"]) == (["requests-2.0-py3-none-any.whl"], [])
        assert len(page_of(server, "requests", **reader).files) == 2
        assert refresh("nothing")[1]["upstream"] == ""
        status, found = refresh("requests", "read")
        assert status == 403
        assert "whoever may upload something" in str(found["message"])
        assert refresh("team-x")[0] == 403
        status, found = refresh("evil")
        assert (status, found["error"]) == (403, "denied")
        tokens["own-*"] = token_of(server.index, "own-*", can="read,upload")
        status, found = refresh("evil", "own-*")
        assert (status, found["error"]) == (404, "not_found")
        assert upstream.asked("team-x") == upstream.asked("evil") == []
        upstream.stop()
        status, found = refresh("requests")
        assert (status, found["error"]) == (503, "upstream_unavailable")


def test_refresh_without_a_credential(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Who has no credential is asked for one, though reading needs none."""
    body = b'{"project": "requests"}'
    headers = (("content-type", "application/json"), ("content-length", str(len(body))))
    with front(tmp_path, upstream) as server:
        assert server.get(API, *headers, method="POST", body=(body,)).status == 401
    assert upstream.requests == []


@pytest.mark.slow
def test_guessing_of_who_reads_little(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Guesses count, too, where the answer is the one for a private name."""
    with front(tmp_path, upstream, access=AccessSettings(private=True)) as server:
        token = token_of(server.index, "own-*", can="read,upload")
        header = ("authorization", basic("__token__", token))
        paths = [f"/api/v1/upstream/why?project=guess-{number}" for number in range(302)]

        answers = [server.get(path, header).status for path in paths]

    assert (answers.count(404), answers.count(429)) == (300, 2)


@pytest.mark.slow
def test_guessing_by_the_api(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Who asks about many names that nobody has is stopped before an upstream is asked."""
    with front(tmp_path, upstream) as server:
        paths = [f"/api/v1/upstream/why?project=guess-{number}" for number in range(302)]

        answers = [server.get(path).status for path in paths]

    assert answers.count(429) == 2
    assert len([each for each in upstream.requests if "guess-" in each.path]) == 300
