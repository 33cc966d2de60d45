"""The hosts of an upstream index's files are those that one of its pages names."""

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from packaging.utils import canonicalize_name

from tests.cli.conftest import Serve, Typed
from tests.cli.conftest import no_address as _no_address
from tests.cli.conftest import serve as _serve
from tests.cli.conftest import start as _start
from tests.cli.conftest import wheelyard as _wheelyard
from tests.fake_time import Clock, fake_runtime
from tests.upstream.asking import LOOPBACK, Asking
from tests.upstream.fake_pages import Fault
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import LABEL
from tests.upstream.team import Team
from wheelyard.cli import serve as serving_commands
from wheelyard.errors import Invalid, Unavailable
from wheelyard.http_client.hosts import FetchError
from wheelyard.http_client.urls import parse_url
from wheelyard.model.access import NameFilter, parse_name_patterns
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.upstream import file_hosts
from wheelyard.upstream.file_hosts import FoundHosts, find_file_hosts
from wheelyard.upstream.settings import UpstreamConfig, UpstreamServer
from wheelyard.wiring.stores import system_runtime
from wheelyard.wiring.upstream import with_file_hosts

wheelyard, serve, start, no_address = _wheelyard, _serve, _start, _no_address

IDNA = public_wheel("idna", "3.10")


def section(upstream: FakeUpstream, **more: object) -> UpstreamSettings:
    """Return `[upstream]` with the URL alone, as one line of a file has it."""
    networks = ("127.0.0.0/8",)
    return replace(
        UpstreamSettings(url=upstream.url, label=LABEL, allow_private_networks=networks), **more
    )


def unknowing(
    upstream: FakeUpstream, names: NameFilter | None = None, private: tuple[str, ...] = ()
) -> Asking:
    """Return a process that does not know the hosts of files."""
    url, names = parse_url(upstream.url), names or NameFilter()
    server = UpstreamServer(url=url, label="public", file_hosts=None, names=names)
    patterns = parse_name_patterns(private)
    config = UpstreamConfig(servers=(), private=patterns, allow_private_networks=LOOPBACK)
    return Asking((server,), config=config)


@pytest.fixture
def asking_process(upstream: FakeUpstream) -> Iterator[Asking]:
    """A process that does not know the hosts of files."""
    with closing(unknowing(upstream)) as made:
        yield made


def found(asking: Asking) -> FoundHosts | None:
    """Return what is found at the start of a server."""
    (client,) = asking.clients.in_order
    return find_file_hosts(client, asking.clock.now)


def known_hosts(asking: Asking) -> tuple[str, ...] | None:
    """Return the hosts that a process knows."""
    return asking.clients.in_order[0].server.file_hosts


def test_one_page_says_them(upstream: FakeUpstream, asking_process: Asking) -> None:
    """One request, for a project that nearly every index has, tells the hosts of its files."""
    upstream.publish(public_wheel("pip", "26.0"), IDNA)
    assert found(asking_process) == FoundHosts("pip", (upstream.file_host,))  # type: ignore[arg-type]
    assert [each.path for each in upstream.requests] == ["/simple/pip/"]

    upstream.behave("pip", Fault.RELATIVE_URL)
    assert found(asking_process) == FoundHosts("pip", ())  # type: ignore[arg-type]


def test_an_index_without_that_project(upstream: FakeUpstream) -> None:
    """Where pip is private or missing, another project of the list is asked for, if not private."""
    upstream.behave("empty")
    upstream.publish(IDNA, public_wheel("acme-x", "1.0"))

    with closing(unknowing(upstream, private=("acme-*", "pip"))) as asking:
        hosts = found(asking)

        assert hosts == FoundHosts("idna", (upstream.file_host,))  # type: ignore[arg-type]
        assert upstream.asked("acme-x") == upstream.asked("pip") == []
        upstream.drop("idna")
        assert found(asking) is None


def test_an_index_that_refuses_that_project(upstream: FakeUpstream, asking_process: Asking) -> None:
    """Of an index that refuses pip and nothing else, another project tells the hosts of files."""
    upstream.publish(IDNA)
    upstream.refuse("pip", b"not here")
    hosts = found(asking_process)
    assert hosts == FoundHosts("idna", (upstream.file_host,))  # type: ignore[arg-type]


def test_names_of_an_allowlist_come_first(upstream: FakeUpstream) -> None:
    """An index that is asked for a few names only is asked for one of them."""
    upstream.publish(IDNA, public_wheel("pip", "26.0"))
    names = NameFilter(parse_name_patterns(("team-*", "idna")))
    with closing(unknowing(upstream, names)) as asking:
        hosts = found(asking)
    assert hosts is not None
    assert hosts.project == "idna"
    assert [each.path for each in upstream.requests] == ["/simple/idna/"]


def test_a_command_finds_them(upstream: FakeUpstream, tmp_path: Path) -> None:
    """A command asks for the hosts of files as a server does, also if its page is in the store."""
    upstream.publish(public_wheel("pip", "26.0"), IDNA)
    team = Team(tmp_path, upstream)
    with team.index(file_hosts=None, enabled=None) as index:
        assert index.upstream is not None
        assert index.upstream.pages.ask_if_due(canonicalize_name("idna")) is not None

    team.keep(IDNA, file_hosts=None, enabled=None)

    assert team.stored() == {IDNA.filename, f"{IDNA.filename}.metadata"}
    assert len(upstream.asked_pages("pip")) == 2


def test_all_workers_find_the_same(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    """After a start without an answer, one page says the hosts, whatever is asked for first."""
    caplog.set_level("INFO", "wheelyard")
    upstream.publish(public_wheel("pip", "26.0"), IDNA, public_wheel("other", "1.0"))
    upstream.behave("other", Fault.ABS_URL_OTHER_HOST)
    for first, second in (("idna", "other"), ("other", "idna")):
        with closing(unknowing(upstream)) as worker, suppress(Unavailable):
            worker.found("missing")  # which needs no host
            assert known_hosts(worker) is None
            for name in (first, second):
                with suppress(Unavailable):
                    worker.found(name)
            assert known_hosts(worker) == (upstream.file_host,)
            page = worker.page("idna")
            asked = len(upstream.requests)
            assert worker.page("idna").page is page.page
            assert len(upstream.requests) == asked
            with pytest.raises(Unavailable, match="is not in upstream"):
                worker.found("other")
    assert upstream.asked_stranger() == []
    assert len(upstream.asked_pages("pip")) == 2
    assert caplog.text.count(f'file_hosts = ["{upstream.file_host}"]') == 2


def test_a_redirect_says_nothing(upstream: FakeUpstream, asking_process: Asking) -> None:
    """A page that leads to another host is not followed there, as nobody has named that host."""
    upstream.publish(public_wheel("pip", "26.0"))
    upstream.behave("pip", Fault.REDIRECT_OTHER)
    with pytest.raises(FetchError, match="if its URL only leads there, use the URL there"):
        found(asking_process)
    assert upstream.asked_stranger() == []


def test_files_on_too_many_hosts(
    upstream: FakeUpstream, asking_process: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a page whose files are on too many hosts none is taken: the settings have to name them."""
    monkeypatch.setattr(file_hosts, "MAX_HOSTS", 0)
    upstream.publish(public_wheel("pip", "26.0"))
    words = "the files of pip are on more than 0 hosts. Name those .* in upstream.file_hosts"
    with pytest.raises(FetchError, match=words):
        found(asking_process)


@pytest.mark.parametrize(
    ("fault", "insecure", "host"),
    [
        (Fault.URL_METADATA_IP, True, "169.254.169.254"),
        (Fault.URL_PRIVATE_HTTPS, False, "10.1.2.3"),  # https, though the index has http
    ],
)
def test_private_addresses_stay_refused(
    upstream: FakeUpstream, fault: Fault, *, insecure: bool, host: str
) -> None:
    """A host of files with a private address is named, with what allows it."""
    upstream.publish(public_wheel("pip", "26.0"))
    upstream.behave("pip", fault)
    settings = Settings(upstream=section(upstream, allow_insecure=insecure))
    words = (
        f"its host {host} has the private address {host}, whose network has to be in "
        "upstream.allow_private_networks, or in WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS"
    )
    with pytest.raises(Invalid, match=words):
        with_file_hosts(settings, system_runtime(), is_optional=True)


def test_an_index_that_does_not_answer(upstream: FakeUpstream) -> None:
    """An index of an option has to answer; that of a file may be away at a start."""
    settings = Settings(upstream=section(upstream))
    upstream.stop()
    runtime = fake_runtime(Clock(), 1)
    place = upstream.url
    why = f"{place} does not answer: it cannot be reached. Try again, or start without it."
    with pytest.raises(Unavailable, match=why) as caught:
        with_file_hosts(settings, runtime, is_optional=False)
    assert caught.value.code == "upstream_unavailable"
    same, sentence = with_file_hosts(settings, runtime, is_optional=True)
    assert (same, "not known which hosts" in sentence) == (settings, True)


@pytest.mark.parametrize("is_optional", [False, True], ids=["option", "file"])
def test_an_index_that_shows_no_file_yet(upstream: FakeUpstream, *, is_optional: bool) -> None:
    """An index without a file stops no start, which says that the hosts are not known."""
    upstream.behave("pip")  # a project without a file
    settings = Settings(upstream=section(upstream))

    same, sentence = with_file_hosts(settings, system_runtime(), is_optional=is_optional)

    assert same == settings
    assert sentence.startswith(f"The upstream index {upstream.url} shows no file yet on the pages")
    assert "not known which hosts" in sentence


@pytest.mark.parametrize(
    ("root", "why"),
    [
        ((200, "text/html", b"<html><a href='about'>About us</a></html>"), "its root is a page of"),
        ((200, "text/html", b"<html></html>"), "its root lists no projects"),
        ((404, "text/plain", b""), "it answers with status 404"),
        ((403, "text/plain", b""), "it answers with status 403"),
    ],
)
def test_a_root_without_a_list(
    upstream: FakeUpstream, root: tuple[int, str, bytes], why: str
) -> None:
    """A URL that shows no index stops the start if an option names it, and says what helps."""
    upstream.root = root
    settings = Settings(upstream=section(upstream))
    with pytest.raises(Invalid, match=f"cannot be used as an .* index: {why}.* and file_hosts of"):
        with_file_hosts(settings, system_runtime(), is_optional=False)
    same, sentence = with_file_hosts(settings, system_runtime(), is_optional=True)
    assert same == settings
    assert f"{upstream.url} has not shown that it is an index: {why}" in sentence
    assert "name them in upstream.file_hosts" in sentence


def test_an_index_without_a_list_serves_its_own_files(upstream: FakeUpstream) -> None:
    """Files of an index without a list come from its host; another host is named in the error."""
    upstream.publish(IDNA, public_wheel("elsewhere", "1.0"))
    upstream.behave("idna", Fault.RELATIVE_URL)
    upstream.root = (404, "text/plain", b"")
    with closing(unknowing(upstream)) as asking:
        assert asking.filenames("idna") == [IDNA.filename]
        missing = f"the host {upstream.file_host} is not in upstream.file_hosts"
        with pytest.raises(Unavailable, match=missing):
            asking.found("elsewhere")
        assert known_hosts(asking) is None
        asked = len(upstream.asked("pip"))
        assert asked == 1  # not with each page
        upstream.root = None
        asking.clock.advance(seconds=6)
        assert asking.filenames("elsewhere") == ["elsewhere-1.0-py3-none-any.whl"]
        assert known_hosts(asking) == (upstream.file_host,)


def test_an_index_whose_host_of_files_is_unknown_for_a_moment(upstream: FakeUpstream) -> None:
    """While the page that says the hosts of files fails, a page is 503, and never without files."""
    upstream.publish(IDNA, public_wheel("pip", "26.0"))
    upstream.behave("pip", 503)
    with closing(unknowing(upstream)) as asking:
        with pytest.raises(Unavailable) as caught:
            asking.found("idna")
        assert caught.value.code == "upstream_unavailable"
        upstream.behave("pip")
        asking.clock.advance(seconds=61)
        assert asking.filenames("idna") == [IDNA.filename]


@pytest.mark.parametrize(
    ("root", "line"),
    [
        (None, "wheelyard: the files of {url} are on {host}, as the page of pip says"),
        ((404, "text/plain", b""), "wheelyard: warning: {url} has not shown that it is an index"),
    ],
    ids=["known", "unknown"],
)
@pytest.mark.usefixtures("no_address")
def test_a_start_warns_only_of_unknown_hosts(
    upstream: FakeUpstream,
    monkeypatch: pytest.MonkeyPatch,
    root: tuple[int, str, bytes] | None,
    line: str,
) -> None:
    """A start says on which hosts the files are, and warns only if that is not known."""
    if root is None:
        upstream.publish(public_wheel("pip", "26.0"))
    upstream.root = root
    monkeypatch.setattr(serving_commands, "run_server", lambda *_: None)
    variables = {
        "WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
        "WHEELYARD_UPSTREAM_URL": upstream.url,
        "WHEELYARD_UPSTREAM_PRIVATE": "acme-*",
    }

    done = CliRunner(env=variables).invoke(serving_commands.serve_command, catch_exceptions=False)

    assert done.stderr.startswith(line.format(url=upstream.url, host=upstream.file_host))


@pytest.mark.integration
def test_serve_and_config_check_say_the_same(
    serve: Serve, wheelyard: Typed, upstream: FakeUpstream
) -> None:
    """`serve` and `config check` warn in the same words of a root without a list, and go on."""
    upstream.publish(IDNA)
    upstream.behave("idna", Fault.RELATIVE_URL)
    upstream.root = (404, "text/plain", b"")
    variables = {
        "WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8",
        "WHEELYARD_UPSTREAM_URL": upstream.url,
        "WHEELYARD_UPSTREAM_PRIVATE": "acme-*",
    }
    said = f"{upstream.url} has not shown that it is an index: it answers with status 404. So it is"
    checked = wheelyard("config", "check", **variables)
    assert (checked.returncode, checked.stderr.count(said)) == (0, 1)
    serving = serve(**variables)
    assert serving.log.read_text().count(said) == 1
    with httpx2.Client(base_url=f"http://127.0.0.1:{serving.port}") as client:
        assert IDNA.filename in client.get("/simple/idna/").text


@pytest.mark.integration
def test_all_workers_of_a_server_have_them(serve: Serve, upstream: FakeUpstream) -> None:
    """`serve --upstream URL` reads one page, prints the hosts, and every worker sends files."""
    upstream.publish(public_wheel("pip", "26.0"), IDNA)
    networks = {"WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}

    serving = serve("--upstream", upstream.url, "--workers", "2", **networks)

    log = serving.log.read_text()
    said = f"the files of {upstream.url} are on {upstream.file_host}, as the page of pip says"
    assert log.count(said) == 1
    assert "no name is said to be private" in log
    with httpx2.Client(base_url=f"http://127.0.0.1:{serving.port}") as client:
        for _ in range(4):
            page = client.get("/simple/idna/", headers={"connection": "close"})
            (link,) = re.findall(r'href="../../(files/[^"#]+)', page.text)
            assert client.get(f"/{link}", headers={"connection": "close"}).content == IDNA.body
    assert len(upstream.asked_pages("pip")) == 1


@pytest.mark.parametrize("line", ["serve", "run ."])
@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param(  # it tries again after pauses
            "{url}",
            "does not answer: it cannot be reached. Try again",
            marks=pytest.mark.integration,
        ),
        ("https://ana:hunter2@index.example.com/simple/", "username and password are apart"),
        ("http://index.example.com/simple/", "over plain HTTP others can change"),
    ],
    ids=["silent", "password", "plain http"],
)
@pytest.mark.usefixtures("no_address")
def test_a_bad_upstream_ends_the_start(
    start: Typed,
    upstream: FakeUpstream,
    line: str,
    url: str,
    words: str,
) -> None:
    """One line says what is wrong with --upstream, without a password."""
    upstream.stop()
    networks = {"WHEELYARD_UPSTREAM_ALLOW_PRIVATE_NETWORKS": "127.0.0.0/8"}

    done = start(*line.split(), "--upstream", url.format(url=upstream.url), **networks)

    (said,) = done.stderr.splitlines()
    assert (done.returncode, words in said, "hunter2" in said) == (1, True, False), said
