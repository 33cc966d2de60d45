"""Grants and groups in the store, as those see them who send a credential."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.access.access_fixture import (
    PASSWORD,
    AccessHarness,
    id_token,
    open_harness,
    put_behind_the_proxy,
    static_token,
)
from tests.access.principals import (
    STRANGER,
    Headers,
    basic,
    bearer,
    by_api_token,
    by_own_token,
    robot,
)
from tests.access.principals import by_assertion as by_proxy
from tests.distributions import make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.http.remote_store import RemoteStore
from tests.in_process_network import NetworkOrPorts
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.model.grants import GrantFields
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.wiring.stores import system_runtime

ROBOT = "serviceAccount:stranger@acme.iam.gserviceaccount.com"
MEMBERS = ("htpasswd:stranger", "static:stranger", "user:stranger@acme.dev", ROBOT)
ANONYMOUS_UPLOADS = (
    b'{"what":"granted","at":"2026-01-01T00:00:00Z","by":"x","id":"g1",'
    b'"grant":{"who":["anonymous"],"projects":["*"],"actions":["upload"]}}'
)
"""An event that no version of wheelyard writes."""
CREDENTIALS: dict[str, Callable[[AccessHarness], Headers]] = {
    "password": lambda _: basic(STRANGER, PASSWORD),
    "static token": lambda _: basic("anybody", static_token(STRANGER)),
    "ID token": lambda _: bearer(id_token("stranger@acme.dev")),
    "service account": lambda _: basic("__token__", robot(STRANGER)),
    "own API token": by_own_token(STRANGER),
}


def to(*who: str, can: str = "read", project: str = "*") -> GrantFields:
    """Return a grant."""
    return GrantFields(who=who, projects=(project,), actions=(can,))


def test_stored_grant_works_for_each_credential(tmp_path: Path, network: NetworkOrPorts) -> None:
    """A grant of the store works for each kind of credential at once, and its end as well."""
    real, later = system_runtime(), [0.0]
    runtime = replace(real, monotonic=lambda: real.monotonic() + later[0])
    with open_harness(tmp_path, network=network, runtime=runtime) as harness:
        sent = {kind: headers(harness) for kind, headers in CREDENTIALS.items()}
        package, access = harness.packages["shut-lib"], harness.index.server.access

        def statuses(path: str) -> set[int]:
            return {harness.request("GET", path, headers).status for headers in sent.values()}

        def listed(headers: Headers) -> bool:
            return b"shut-lib" in harness.request("GET", "/simple/", headers).body

        def uploaded() -> set[int]:
            return {harness.upload(package, headers).status for headers in sent.values()}

        assert (statuses("/simple/shut-lib/"), statuses("/simple/secret-lib/")) == ({404}, {403})
        assert uploaded() == {403}

        access.edit_group("set", "newcomers", MEMBERS[:2], by="local:test")
        granted = access.grant(to("group:newcomers", can="upload", project="s*"), by="local:test")
        access.edit_group("add", "newcomers", MEMBERS[2:], by="local:test")
        later[0] += 1

        for path in ("/simple/shut-lib/", "/simple/shut-lib/", "/simple/secret-lib/"):
            assert statuses(path) == {200}
        assert uploaded() == {200}
        assert all(map(listed, sent.values()))
        answer = harness.request("GET", "/simple/shut-lib/", sent["password"])
        assert answer.header("cache-control") == "private, no-cache"
        assert "Authorization" in answer.header("vary")
        assert harness.request("GET", "/simple/shut-lib/").status == 401
        assert (
            harness.request("GET", "/simple/shut-lib/", by_api_token(STRANGER)(harness)).status
            == 404
        )

        access.revoke(granted, by="local:test")
        later[0] += 1

        assert (statuses("/simple/shut-lib/"), statuses("/simple/secret-lib/")) == ({404}, {403})
        assert uploaded() == {403}
        assert not any(map(listed, sent.values()))


def test_stored_grant_works_behind_the_proxy(tmp_path: Path, network: NetworkOrPorts) -> None:
    """A person whom Identity-Aware Proxy names has the grants of the store."""
    with open_harness(tmp_path, network=network, adjust=put_behind_the_proxy) as harness:
        headers = by_proxy(STRANGER)(harness)
        assert harness.request("GET", "/project/shut-lib/", headers).status == 404
        harness.index.server.access.grant(to("user:stranger@acme.dev"), by="local:test")
        assert harness.request("GET", "/project/shut-lib/", headers).status == 200


@pytest.fixture
def remote(tmp_path: Path) -> Settings:
    """Settings with a user."""
    file = tmp_path / "users"
    file.write_text("ana:{SHA}mN7MYuzjmaIu0w1JDvMzvn/ec4U=\n")
    access = AccessSettings(private=True, htpasswd_file=str(file), htpasswd_may=())
    return Settings(access=access, server=ServerSettings(read_only=True))


def status(server: InProcessServer) -> int:
    """Return what ana is told when she asks for a project page."""
    return server.get("/simple/demo/", basic("ana", PASSWORD)[0]).status


def test_other_servers_obey_within_fifteen_seconds(tmp_path: Path, remote: Settings) -> None:
    """Other servers on a bucket obey a change within 15 s, and until then read nothing for it."""
    store = RemoteStore()
    with (
        in_process(tmp_path, remote, store=store, near=False) as here,
        in_process(tmp_path, remote, store=store, near=False) as there,
    ):
        store.calls.clear()  # those of the start
        here.publish(make_wheel("demo"))
        token = here.index.tokens.create(TokenRequest(name="ci"), by="local:test")[0].text
        assert there.get("/simple/demo/", *bearer(token)).status == 200
        assert there.get("/simple/demo/").status == 401
        assert store.asked("get", keys.ACCESS) == 0  # grants say nothing of these two
        assert status(there) == 404
        granted = here.index.server.access.grant(to("htpasswd:ana"), by="local:test")
        there.clock.advance(seconds=13)
        assert status(there) == 404
        there.clock.advance(seconds=2)
        assert status(there) == 200
        asked = store.asked("get", keys.ACCESS)
        for _ in range(3):
            there.clock.advance(seconds=2)
            assert status(there) == 200
        assert store.asked("get", keys.ACCESS) == asked

        here.index.server.access.revoke(granted, by="local:test")
        there.clock.advance(seconds=15)
        assert status(there) == 404


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize(
    "damage",
    [
        b"?",
        (
            b'{"revision":1,"grants":[%(event)b],'
            b'"commit":{"number":1,"id":"8ca5996666ceab36","previous":"","event":%(event)b}}'
            % {b"event": ANONYMOUS_UPLOADS}
        ),
    ],
    ids=["bytes", "anonymous"],
)
def test_damaged_grants_are_unavailable(
    tmp_path: Path, remote: Settings, damage: bytes, *, near: bool
) -> None:
    """While stored grants are damaged or lost, who may have one is told to come back (503)."""
    with in_process(tmp_path, remote, near=near) as server:
        server.publish(make_wheel("demo"))
        access, store = server.index.server.access, server.index.files.store
        access.grant(to("htpasswd:ana"), by="local:test")
        token = bearer(server.index.tokens.create(TokenRequest(name="ci"), by="local:test")[0].text)
        assert status(server) == 200
        store.put(keys.ACCESS, damage, None)
        server.clock.advance(seconds=15)
        assert status(server) == 503
        assert server.get("/simple/demo/", *token).status == 200
        assert server.get("/simple/demo/").status == 401
        store.delete(keys.ACCESS)
        server.clock.advance(seconds=15)
        assert status(server) == 503
