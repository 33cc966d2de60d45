"""An upstream index that refuses one project or one file, as a firewall does, and nothing else."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.fake_time import Clock
from tests.http.servers import token_of
from tests.upstream.fake_pages import Fault, basic
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import SOURCE, ReadResponse, link_of, look, page_of
from tests.upstream.settings import front
from tests.upstream.test_confusion_faults import two_upstreams
from wheelyard.errors import Unavailable
from wheelyard.http_client.urls import parse_url
from wheelyard.model.public_packages import NameAnswer
from wheelyard.upstream.answering_hosts import AnsweringHosts
from wheelyard.upstream.refusal_reason import REASON_CHARS, reason_in

PACKAGE = public_wheel("evil", "2.0")
ARTIFACTORY = b'{"errors": [{"status": 403, "message": "blocked by policy MALWARE"}]}'
HTML = b"<html><head><title>403</title></head><body><h1>Quarantined</h1><p>Ask us</body>"


@pytest.fixture
def public(upstream: FakeUpstream) -> FakeUpstream:
    """An upstream that has a project."""
    upstream.publish(PACKAGE, public_wheel("requests", "1.0"))
    return upstream


@pytest.fixture
def second_upstream(second_upstream: FakeUpstream) -> FakeUpstream:
    """A second upstream."""
    second_upstream.publish(public_wheel("evil", "9.0"), public_wheel("second", "1.0"))
    return second_upstream


def error_of(seen: ReadResponse) -> tuple[int, str, str]:
    """Return the status, the code and the message of an error."""
    body = json.loads(seen.body)
    return seen.status, body["error"], body["message"]


@pytest.mark.parametrize(
    ("status", "reason", "said"),
    [
        (403, ARTIFACTORY, ', and says "blocked by policy MALWARE".'),
        (451, HTML, ', and says "Quarantined Ask us".'),
        (403, b"", ". Ask whoever runs that index"),
    ],
)
def test_one_project(
    public: FakeUpstream, tmp_path: Path, status: int, reason: bytes, said: str
) -> None:
    """A project that is refused while others are answered is 403, with the reason."""
    public.refuse("evil", reason, status)
    with front(tmp_path, public) as server:
        for _ in range(3):
            found, code, message = error_of(page_of(server, "evil"))
            assert (found, code) == (403, "upstream_refused")
            assert (
                f"public refuses what was asked for of evil: it answers with status {status}"
                in message
            )
            assert said in message
        assert len(public.asked_pages("evil")) == 1
        assert page_of(server, "requests").status == 200
        assert server.index.upstream is not None
        explained = server.index.upstream.explain(NormalizedName("evil"), None, may_read=True)
        assert explained.answer is NameAnswer.UNAVAILABLE
        assert [why.code for why in explained.reasons] == ["upstream_refused"]
        public.behave("evil")
        server.clock.advance(seconds=61)
        assert page_of(server, "evil").status == 200


def test_a_refusal_is_kept_as_long_as_a_page(public: FakeUpstream, tmp_path: Path) -> None:
    """A project that was refused is asked for again after the `page_ttl` of the index."""
    public.refuse("evil", ARTIFACTORY)
    with front(tmp_path, public, page_ttl=5) as server:
        assert page_of(server, "evil").status == 403
        server.clock.advance(seconds=4)
        assert page_of(server, "evil").status == 403
        assert len(public.asked_pages("evil")) == 1
        server.clock.advance(seconds=2)
        assert page_of(server, "evil").status == 403
        assert len(public.asked_pages("evil")) == 2


def test_an_index_that_refuses_everything(public: FakeUpstream, tmp_path: Path) -> None:
    """Where all is refused, our credentials are wrong: the cached page stays, others are 502."""
    with front(tmp_path, public) as server:
        assert page_of(server, "evil").status == 200
        public.refuses_all = True
        server.clock.advance(seconds=601)
        assert page_of(server, "evil").headers[SOURCE] == "upstream-stale"
        assert error_of(page_of(server, "requests"))[:2] == (502, "bad_upstream")
        link = f"{link_of(server, 'evil', PACKAGE.filename)}"
        assert error_of(look(server, link))[:2] == (502, "bad_upstream")


def test_a_page_for_people_is_no_answer(public: FakeUpstream, tmp_path: Path) -> None:
    """Where only a page to sign in is sent instead of the index, our credentials are wrong."""
    public.refuse("evil", ARTIFACTORY)
    public.root = (200, "text/html", b'<html><a href="/login">Sign in</a></html>')
    with front(tmp_path, public) as server:
        assert error_of(page_of(server, "evil"))[:2] == (502, "bad_upstream")


def test_the_page_of_another_project_is_no_answer(public: FakeUpstream, tmp_path: Path) -> None:
    """Where each page leads to that of another project, our credentials are wrong."""
    public.refuse("evil", ARTIFACTORY)
    public.root = (200, "text/html", b'<html><a href="/login">Sign in</a></html>')
    public.publish(public_wheel("pip", "26.0"), public_wheel("acme-core", "99.0"))
    public.behave("pip", Fault.REDIRECT_NAME)
    with front(tmp_path, public) as server:
        assert error_of(page_of(server, "evil"))[:2] == (502, "bad_upstream")
    assert public.asked_pages("pip")


def test_a_host_that_refuses_everything_is_not_tested_at_each_refusal() -> None:
    """A host that refuses everything is tested again after half a minute, or once it answers."""
    clock = Clock()
    hosts = AnsweringHosts(clock.seconds)
    first, second = (parse_url(f"https://index.example.com/simple/{name}/") for name in "ab")

    hosts.record_refusal(first)
    refused = [hosts.is_answering(url, url) for url in (first, second)]
    clock.advance(seconds=30)
    later = hosts.is_answering(second, second)
    hosts.record_refusal(first)
    hosts.record(second, second)
    clock.advance(seconds=2)

    assert refused == [False, False]
    assert later is None
    assert hosts.is_answering(first, first) is None


def test_a_refusal_just_after_an_answer_costs_one_request(
    public: FakeUpstream, tmp_path: Path
) -> None:
    """Where another page was answered in this second, a refusal is 403 without a further test."""
    public.refuse("evil", ARTIFACTORY)
    with front(tmp_path, public) as server:
        assert page_of(server, "requests").status == 200
        asked = len(public.requests)

        assert page_of(server, "evil").status == 403
        assert len(public.requests) == asked + 1


def test_a_refusal_is_not_passed_by(public: FakeUpstream, tmp_path: Path) -> None:
    """A project that is refused now is not served from the cache, also while its index is down."""
    with front(tmp_path, public) as server:
        link = link_of(server, "evil", PACKAGE.filename)
        assert look(server, link).status == 200
        public.refuse("evil", ARTIFACTORY)
        server.clock.advance(seconds=601)
        assert page_of(server, "evil").status == 403
        assert look(server, link).status == 403
        public.behave("evil", 503)
        server.clock.advance(seconds=61)
        assert page_of(server, "evil").status == 503
        public.behave("evil")
        server.clock.advance(seconds=61)
        assert page_of(server, "evil").status == 200
        public.behave("evil", 503)
        server.clock.advance(seconds=601)
        assert page_of(server, "evil").headers[SOURCE] == "upstream-stale"


@pytest.mark.parametrize("way", ["refresh", "no-cache"])
def test_a_refusal_that_somebody_asked_for(public: FakeUpstream, tmp_path: Path, way: str) -> None:
    """What is refused when somebody asks for it at once is not served from a page that is fresh."""
    with front(tmp_path, public) as server:
        link = link_of(server, "evil", PACKAGE.filename)
        assert look(server, link).status == 200
        public.refuse("evil", ARTIFACTORY)
        assert server.index.upstream is not None
        if way == "refresh":
            with pytest.raises(Unavailable, match="blocked by policy MALWARE"):
                server.index.upstream.pages.ask_now(NormalizedName("evil"))
        else:
            server.clock.advance(seconds=2)
            login = basic("__token__", token_of(server.index, can="read,upload"))
            newest = {"authorization": login, "cache_control": "no-cache"}
            assert page_of(server, "evil", **newest).status == 403
        for _ in range(2):
            assert error_of(page_of(server, "evil"))[:2] == (403, "upstream_refused")
            assert look(server, link).status == 403
        assert len(public.asked_pages("evil")) == 2
        public.behave("evil")
        server.index.upstream.pages.ask_now(NormalizedName("evil"))
        assert page_of(server, "evil").status == 200
        assert look(server, link).status == 200


def test_a_refusal_after_all_was_refused(public: FakeUpstream, tmp_path: Path) -> None:
    """As soon as an index answers again, what it still refuses is 403."""
    public.publish(public_wheel("quick", "1.0"))
    with front(tmp_path, public) as server:
        public.refuses_all = True
        assert error_of(page_of(server, "requests"))[:2] == (502, "bad_upstream")
        public.refuses_all = False
        public.refuse("evil", ARTIFACTORY)
        assert page_of(server, "quick").status == 200
        server.clock.advance(seconds=2)
        assert error_of(page_of(server, "evil"))[:2] == (403, "upstream_refused")


@pytest.mark.integration
def test_the_next_index_is_not_asked(
    public: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """After a refusal or a late answer of the first index, the second one is not asked."""
    public.refuse("evil", ARTIFACTORY)
    public.behave("slow", Fault.HANG)
    second_upstream.publish(public_wheel("slow", "9.0"))
    with two_upstreams(tmp_path, public, second_upstream, ({"timeout": 2}, {})) as server:
        assert error_of(page_of(server, "evil"))[:2] == (403, "upstream_refused")
        assert error_of(page_of(server, "slow"))[:2] == (503, "upstream_unavailable")
        assert page_of(server, "second").status == 200
    assert second_upstream.asked("evil") == second_upstream.asked("slow") == []


def test_an_earlier_index_refuses_what_a_later_one_has(
    public: FakeUpstream, second_upstream: FakeUpstream, tmp_path: Path
) -> None:
    """If an index before the owner of a name refuses it from now on, it is refused."""
    with two_upstreams(tmp_path, public, second_upstream) as server:
        assert page_of(server, "second").status == 200
        public.refuse("second", ARTIFACTORY)
        server.clock.advance(seconds=601)
        assert page_of(server, "second").status == 403
        # nor is the older page served while another thread asks again
        assert server.index.upstream is not None
        assert server.index.upstream.pages.peek_stale(NormalizedName("second")) is None


def test_one_file(public: FakeUpstream, tmp_path: Path) -> None:
    """A file or core metadata that is refused while other files come is 403, with the reason."""
    other = public_wheel("requests", "1.0")
    with front(tmp_path, public) as server:
        link = link_of(server, "evil", PACKAGE.filename)
        public.refuse_files("evil", HTML, 451)
        # nothing shows yet that this host gives any file
        assert error_of(look(server, link))[:2] == (502, "bad_upstream")
        assert look(server, link_of(server, "requests", other.filename)).status == 200
        for path in (link, f"{link}.metadata"):
            status, code, message = error_of(look(server, path))
            assert (status, code) == (403, "upstream_refused")
            assert "status 451" in message
            assert "Quarantined" in message
        metrics = look(server, "/metrics").body.decode()
        assert 'upstream_requests_total{kind="file",status="451"} 2.0' in metrics
        public.behave_files("evil")
        assert look(server, link).body == PACKAGE.body


def test_a_password_is_not_repeated(
    public: FakeUpstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What an index repeats of our credentials reaches no client, and no log."""
    public.credentials = basic("ci", "hunter2")
    sent = basic("ci", "hunter2").split()[1]
    public.refuse("evil", f"ci:hunter2 ({sent}) may not read this".encode())
    with front(tmp_path, public, username="ci", password="hunter2") as server:
        message = error_of(page_of(server, "evil"))[2]
    assert 'says "ci:*** (***) may not read this"' in message
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (ARTIFACTORY, "blocked by policy MALWARE"),
        (
            b'{"title": "Forbidden", "detail": "quarantined since Monday."}',
            "quarantined since Monday",
        ),
        (b'{"error": {"message": "no licence"}}', "no licence"),
        (b'"no"', "no"),
        (b'[[["no"]]]', "no"),
        (b'[[[["no"]]]]', '[[[["no"]]]]'),
        (b'{"code": 7}', '{"code": 7}'),
        (HTML, "Quarantined Ask us"),
        (b"<script>alert(1)</script><!-- x --><style>p{}</style>No\n\tway", "No way"),
        (b"\x1b[31mred\x1b[0m \x07bell \xe2\x80\xae", "red bell"),
        (b"&lt;b&gt;loud&lt;/b&gt; a < b", "loud a < b"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"x" * 1000, "x" * (REASON_CHARS - 3) + "..."),
        (b"", ""),
    ],
)
def test_what_a_refusal_says(body: bytes, reason: str) -> None:
    """The reason is a text near the top of an answer, without markup, on one short line."""
    assert reason_in(body) == reason


@given(st.binary(max_size=300) | st.text("<>!-/script &lt;\"'a\n", max_size=300).map(str.encode))
def test_a_reason_can_be_printed(body: bytes) -> None:
    """Whatever an index answers, its reason is one printable line without an open tag."""
    reason = reason_in(body)
    assert reason.isprintable()
    assert len(reason) <= 4 * REASON_CHARS
    assert "<script" not in reason_in(b"<script>" + body)
