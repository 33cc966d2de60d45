"""The pages of how the server is, and of the settings in force."""

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tests.advice import texts_of
from tests.clients.tls import Authority
from tests.fake_store import FakeStore, FaultKind
from tests.fake_store import Fault as StoreFault
from tests.http.handlers.admin.administering import TABLES, Administrator, settings_in
from tests.http.in_process import InProcessServer, in_process
from tests.in_process_network import NetworkOrPorts
from tests.operations.in_memory_index import ALICE
from tests.upstream.fake_pages import FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import close, upstream_section
from wheelyard.api.health_operations import Health, show_health, show_settings
from wheelyard.api.local_api import LocalApi
from wheelyard.catalog import keys
from wheelyard.http.app import App
from wheelyard.operations.daily_sweep import JOB
from wheelyard.operations.job_lease import JobLease
from wheelyard.settings.sections import AccessSettings, ServerSettings, SettingPath
from wheelyard.settings.validation import warnings_for
from wheelyard.storage.memory import MemoryStore

SECRET = "hunter2-is-no-secret"


def parts(health: Health) -> dict[str, str]:
    """Return the state of each part."""
    return {part.name: part.state for part in health.parts}


def text(health: Health, name: str) -> str:
    """Return what is said of a part."""
    return next(part.text for part in health.parts if part.name == name)


def test_health_of_a_sound_server(admin: Administrator, server: InProcessServer) -> None:
    """The page names what works: server, store, sweep, queues; and a file with a weak password."""
    page = admin.read("health/")

    htpasswd = server.index.settings.access.htpasswd_file
    for name in ("server", "store", "sweep", "queues"):
        assert f" {name} ok " in page
    assert f" {htpasswd} warning It is in force, and there are warnings about it." in page
    assert "this one has started on 2026-01-01 00:00 UTC" in page
    assert "uploads: 0 under way" in page


def test_warnings_are_those_of_serve(tmp_path: Path) -> None:
    """Settings that ask for a look are warned of as at the start, with what to do."""
    access = AccessSettings(cookie_login=True, htpasswd_file=str(tmp_path / "htpasswd"))
    server = ServerSettings(host="0.0.0.0")  # noqa: S104 - what is warned of
    settings = settings_in(tmp_path, access=access, server=server)
    (tmp_path / "htpasswd").chmod(0o666)
    with in_process(tmp_path, settings, tables=TABLES) as opened:
        admin = Administrator.of(opened)
        warnings = admin.api.call(show_health).warnings
        pages = [admin.read(path) for path in ("health/", "settings/")]

    assert set(warnings_for(settings)) <= set(warnings)
    assert any("take that away with 'chmod o-w'" in text for text in texts_of(warnings))
    assert all("credentials may come over plain HTTP" in page for page in pages)


def test_server_that_writes_nothing_is_named(tmp_path: Path) -> None:
    """A server that is read-only, or has not written so far, says so, and why."""
    settings = settings_in(tmp_path, server=ServerSettings(read_only=True))
    with in_process(tmp_path, settings, tables=TABLES) as server:
        App(server.index, write_failure=lambda: "The disk is full.")
        health = LocalApi(index=server.index, caller=ALICE).call(show_health)

    assert (parts(health)["server"], parts(health)["store"]) == ("warning", "failed")
    assert text(health, "server").endswith("It is read-only: it takes no changes.")
    failure = "No write has succeeded since the server was started. The disk is full."
    assert text(health, "store").endswith(failure)


def test_webhook_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    """A webhook to which this server can send nothing has failed, with why."""
    hook = {"name": "chat", "format": "slack"}
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        server.index.server.webhooks.add(hook, "local:bo")
        health = Administrator.of(server).api.call(show_health)

    assert parts(health)["webhook chat"] == "failed"
    problem = "It is told of nothing. This process has no WHEELYARD_WEBHOOK_CHAT_URL"
    assert text(health, "webhook chat").startswith(problem)


def test_store_that_does_not_answer_is_named(tmp_path: Path) -> None:
    """A store that cannot be read or written is a part that has failed, and the page is there."""
    away = StoreFault(FaultKind.NOT_DONE, "get", f"{keys.LEASES}*", times=9)
    store = FakeStore(MemoryStore(lambda: 0.0), away)
    with in_process(tmp_path, settings_in(tmp_path), store=store, tables=TABLES) as server:
        admin = Administrator.of(server)

        assert parts(admin.api.call(show_health))["store"] == "failed"
        assert " store failed " in admin.read("health/")


def test_last_sweep_is_known(tmp_path: Path) -> None:
    """The health says when leftovers were swept last, and warns if that is long ago."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        api, lease = (
            Administrator.of(server).api,
            JobLease(server.index.stores.documents, JOB, server.index.lifecycle.removal.clock),
        )
        assert text(api.call(show_health), "sweep").startswith("Never swept yet")
        lease.take(timedelta(days=1))
        lease.complete()
        assert "last on 2026-01-01 00:00 UTC" in text(api.call(show_health), "sweep")
        assert parts(api.call(show_health))["sweep"] == "ok"
        server.clock.advance(days=3)
        assert parts(api.call(show_health))["sweep"] == "warning"


def test_file_that_became_wrong_is_named(tmp_path: Path) -> None:
    """A file of credentials that is wrong now has failed, and what it said before is in force."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        admin, path = Administrator.of(server), tmp_path / "htpasswd"
        path.write_text("admin:no hash at all\n")
        server.clock.advance(seconds=10)
        admin.open("health/")  # whose authentication looks at the file

        health = admin.api.call(show_health)

    assert parts(health)[str(path)] == "failed"
    assert text(health, str(path)).endswith("What it said before is in force.")


@pytest.mark.parametrize(("days", "state"), [(30, "ok"), (9, "warning")])
def test_certificate_that_ends_soon_is_named(tmp_path: Path, days: int, state: str) -> None:
    """The health says until when the certificate is valid, and warns if that is soon."""
    paths = [tmp_path / name for name in ("chain.pem", "key.pem")]
    for path, content in zip(paths, Authority().issue(days=(-1, days)), strict=True):
        path.write_bytes(content)
        path.chmod(0o600)
    section = ServerSettings(certificate=str(paths[0]), key=str(paths[1]))
    settings = settings_in(tmp_path, server=section)
    with in_process(tmp_path, settings) as server:
        health = LocalApi(index=server.index, caller=ALICE).call(show_health)

    assert parts(health)["certificate"] == state
    assert text(health, "certificate").startswith("Valid until ")


@pytest.fixture
def upstream(network: NetworkOrPorts) -> Iterator[FakeUpstream]:
    """An upstream index."""
    with running_fake_upstream(network) as opened:
        opened.publish(FakeFile.of(public_wheel("requests", "1.0")))
        yield opened


@pytest.mark.parametrize("fault", [503, Fault.RESET], ids=["refused", "connection lost"])
def test_upstream_indexes_have_their_states(
    tmp_path: Path, upstream: FakeUpstream, fault: int | Fault
) -> None:
    """Each upstream index is said to answer, not to answer, or not to have been asked."""
    settings = settings_in(tmp_path, upstream=upstream_section(upstream, page_ttl=60))
    with in_process(tmp_path, settings, tables=TABLES) as server:
        admin = Administrator.of(server)
        (label,) = (each.label for each in settings.upstream.indexes)
        name = f"upstream {label}"
        assert "not asked it yet" in text(admin.api.call(show_health), name)
        queues = text(admin.api.call(show_health), "queues")
        assert "requests to upstream indexes: 0 under way" in queues
        admin.browser.open("/simple/requests/")
        assert parts(admin.api.call(show_health))[name] == "ok"
        upstream.behave("requests", fault)
        server.clock.advance(minutes=5)
        admin.browser.open("/simple/requests/")
        assert parts(admin.api.call(show_health))[name] == "failed"
        close(server.index)


def test_settings_have_their_sources_and_no_secrets(tmp_path: Path) -> None:
    """The page has each setting with its value and where that is from, and never a secret."""
    access = AccessSettings(
        cookie_login=True, htpasswd_file=str(tmp_path / "htpasswd"), metrics_token=SECRET
    )
    table = {"name": "acme", "issuer": "https://id.acme.dev", "client_id": "x", "secret": SECRET}
    settings = settings_in(tmp_path, access=access, sign_in=(table,))
    with in_process(tmp_path, settings, tables=TABLES) as server:
        sources: Mapping[SettingPath, str] = {("access", "cookie_login"): "wheelyard.toml"}
        admin = Administrator.of(server)
        server.index.server.sources = sources
        by_name = {each.name: each for each in admin.api.call(show_settings).settings}
        page = admin.open("settings/").body.decode()

    cookie = by_name["access.cookie_login"]
    assert (cookie.value, cookie.source, cookie.is_default) == ("true", "wheelyard.toml", False)
    assert by_name["server.port"].is_default
    assert by_name["access.metrics_token"].value == "(not shown)"
    assert by_name["sign_in"].value == "1 table"
    assert "grant" not in by_name
    assert SECRET not in page
    assert "(not shown)" in page
    headings = re.findall("<summary><code>([^<]*)<", page)
    assert {"Tables", "[access]", "[server]"} <= set(headings)
    assert "[]" not in headings


@pytest.mark.parametrize("path", ["health/", "settings/"])
def test_they_are_for_administrators(server: InProcessServer, path: str) -> None:
    """Who is no administrator sees neither the health of the server nor its settings."""
    assert Administrator.of(server, "reader").open(path).status == 403
    assert server.get(f"/-/admin/{path}").status == 401


def test_broken_file_of_credentials_is_noticed(tmp_path: Path) -> None:
    """A line that makes no sense is there at once, before anybody uses a password."""
    with in_process(tmp_path, settings_in(tmp_path), tables=TABLES) as server:
        api, users = Administrator.of(server).api, tmp_path / "htpasswd"
        with users.open("a") as file:
            file.write("garbage\n")
        server.clock.advance(minutes=1)

        health = api.call(show_health)

    assert parts(health)[str(users)] == "failed"
    assert "has no colon" in text(health, str(users))
