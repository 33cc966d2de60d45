"""CI jobs that publish without a secret: their ID tokens, and a server that accepts them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from msgspec.structs import replace

from tests.authentication.verifiers.fake_issuer import (
    FakeIssuer,
    SigningKey,
    rsa_key,
    running_issuer,
)
from tests.http.servers import Answer, RunningServer, memory_index, running_app
from tests.index_tables import toml_of
from wheelyard.concurrency.runtime import Runtime
from wheelyard.settings.sections import PublishingSettings, Settings
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

AUDIENCE = "packages.example.com"
KEY = rsa_key("ci")
RELEASE = "repo:acme/demo:environment:release"
MINT = "/_/oidc/mint-token"
BURN = "/_/oidc/burn-token"
DISCOVERY = "/.well-known/pytp"


def publisher(issuer: FakeIssuer, name: str = "demo", **changes: object) -> dict[str, object]:
    """Return a `[[publisher]]` table for a project and the fake issuer."""
    return {
        "id": f"ci-{name}",
        "provider": "oidc",
        "issuer": issuer.url,
        "match": {"sub": RELEASE},
        "projects": [name],
        **changes,
    }


@dataclass(frozen=True)
class Ci:
    """A running server and a fake issuer whose CI jobs may publish to the server."""

    server: RunningServer
    issuer: FakeIssuer
    index: Index

    def statement(self, **changes: object) -> str:
        """Return what a job is given; None takes a claim out."""
        return self.signed(KEY, changes)

    def signed(self, key: SigningKey, changes: Mapping[str, object]) -> str:
        """Return the same, signed with any key."""
        now = int(system_runtime().now().timestamp())
        claims = {
            "iss": self.issuer.url,
            "aud": AUDIENCE,
            "sub": RELEASE,
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + 300,
        }
        return key.token({**claims, **changes})

    def ask(self, path: str, body: object, address: str = "192.0.2.1") -> Answer:
        """Post JSON to one of the steps, from an address."""
        headers = {"X-Forwarded-For": address}
        return self.server.client.post(path, json=body, headers=headers)

    def mint(self, **changes: object) -> Answer:
        """Ask for a token, with a new statement."""
        return self.ask(MINT, {"token": self.statement(**changes)})

    def token(self) -> str:
        """Return a minted token."""
        answer = self.mint()
        assert answer.status_code == 200, answer.text
        text: str = answer.json()["token"]
        return text


@contextmanager
def running_ci(
    folder: Path,
    settings: Settings | None = None,
    runtime: Runtime | None = None,
    *,
    tables: str = "",
) -> Iterator[Ci]:
    """Serve a new index in memory, to which the jobs of a new issuer may publish `demo`."""
    folder.mkdir(exist_ok=True)
    settings = settings or Settings()
    with running_issuer() as issuer:
        issuer.serve_keys(KEY)
        issuer.serve_discovery()
        settings = replace(
            settings,
            trusted_publishing=PublishingSettings(
                audience=(AUDIENCE,), private_issuers=(issuer.url,)
            ),
            server=replace(settings.server, trusted_proxies=1),
        )
        tables += toml_of(publisher=[publisher(issuer)])
        index = memory_index(folder, settings, runtime, tables=tables)
        with running_app(index, folder) as server:
            yield Ci(server, issuer, index)


def refused(answer: Answer, status: int = 422) -> str:
    """Look at a refusal in both of its forms; return its code."""
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers.get_list("Cache-Control") == ["no-store"]
    (error,) = problem["errors"]
    assert error.keys() == {"code", "description"}
    assert (problem["type"], problem["detail"]) == ("about:blank", error["description"])
    assert problem["message"] == problem["title"] == "Token request failed"
    code: str = error["code"]
    return code
