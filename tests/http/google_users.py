"""People with Google accounts, and a server that knows them by ID token or by a proxy's word."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from tests.authentication.verifiers.fake_issuer import (
    Bearer,
    FakeIssuer,
    ec_key,
    google_claims,
    iap_claims,
    rsa_key,
    running_issuer,
)
from tests.http.jobs import AUDIENCE, KEY, Ci, publisher
from tests.http.servers import Answer, RunningServer, memory_index, running_app
from tests.index_tables import toml_of
from wheelyard.settings.sections import (
    AccessSettings,
    AccessTokenSettings,
    GoogleSettings,
    IapSettings,
    IdTokenSettings,
    PublishingSettings,
    ServerSettings,
    Settings,
)
from wheelyard.storage.base import Store
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

INDEX = "https://packages.example.com"
PROXIED = "/projects/1/global/backendServices/2"
STATIC = "a-static-token-of-many-characters"
PASSWORD = "a password of theirs"
ACCESS_TOKEN = "ya29.an-access-token-of-somebody"
GOOGLE = rsa_key("google")
PROXY = ec_key("proxy")
READ = ["storage.objects.get"]

GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["user:ana@acme.dev"], "projects": ["acme-*"], "actions": ["upload"]},
    {"who": ["user:ana@acme.dev"], "projects": ["tools"], "actions": ["manage"]},
    {"who": ["domain:acme.dev"], "projects": ["shared"], "actions": ["read"]},
    {"who": ["user:root@acme.dev"], "projects": ["*"], "actions": ["admin"]},
    {
        "who": ["serviceAccount:ci@p.iam.gserviceaccount.com"],
        "projects": ["*"],
        "actions": ["read"],
    },
    {"who": ["htpasswd:bob"], "projects": ["*"], "actions": ["manage"]},
)


@dataclass(frozen=True)
class GoogleUsersServer:
    """A running server and the credentials of its users, who have Google accounts."""

    server: RunningServer
    issuer: FakeIssuer
    index: Index

    @property
    def ci(self) -> Ci:
        """The jobs that may publish `demo`."""
        return Ci(self.server, self.issuer, self.index)

    def id_token(self, email: str, age: int = 0, audience: str = INDEX) -> str:
        """Return a Google ID token for a user, some seconds old."""
        now = int(system_runtime().now().timestamp())
        return GOOGLE.token({**google_claims(email, audience, now - age), "exp": now - age + 3700})

    def assertion(self, email: str) -> str:
        """Return an IAP assertion for a user."""
        now = int(system_runtime().now().timestamp())
        return PROXY.token(iap_claims(email, PROXIED, now))

    def ask(
        self, method: str, path: str, secret: str = "", body: object = None, **headers: str
    ) -> Answer:
        """Ask for something below `/api/v1/`, with a Bearer token if one is given."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if secret:
            named["Authorization"] = f"Bearer {secret}"
        url = f"/api/v1/{path}"
        if body is None:
            return self.server.client.request(method, url, headers=named)
        return self.server.client.request(method, url, headers=named, json=body)


@contextmanager
def running_google_server(
    folder: Path,
    grants: Sequence[dict[str, object]] = GRANTS,
    store: Store | None = None,
    *,
    is_private: bool = True,
    failed_login_per_minute: int = AccessSettings().failed_login_per_minute,
) -> Iterator[GoogleUsersServer]:
    """
    Serve an index that every kind of credential opens, and nobody else unless a grant says so.

    With `is_private` grants to everybody do not count either.
    """
    folder.mkdir(exist_ok=True)
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"bob:{hashed}\n")
    (folder / "tokens.toml").write_text(
        f'[[token]]\nname = "old"\nvalue = "{STATIC}"\nprojects = ["*"]\n'
    )
    with running_issuer() as issuer:
        issuer.serve_keys(KEY, GOOGLE, PROXY)
        issuer.serve_discovery()
        issuer.bearers[ACCESS_TOKEN] = Bearer(frozenset(READ))
        settings = Settings(
            server=ServerSettings(public_url=INDEX),
            access=AccessSettings(
                private=is_private,
                htpasswd_may=(),
                htpasswd_file=str(folder / "htpasswd"),
                static_tokens_file=str(folder / "tokens.toml"),
                failed_login_per_minute=failed_login_per_minute,
            ),
            google=GoogleSettings(
                allow_private=True,
                id_token=IdTokenSettings(audience=(INDEX,)),
                access_token=AccessTokenSettings(resource=f"gs://{issuer.bucket}"),
            ),
            iap=IapSettings(audience=(PROXIED,)),
            trusted_publishing=PublishingSettings(
                audience=(AUDIENCE,), private_issuers=(issuer.url,)
            ),
        )
        tables = toml_of(main={"read": "granted"}, publisher=[publisher(issuer)], grant=grants)
        index = memory_index(folder, settings, store=store, google=issuer.google, tables=tables)
        with running_app(index, folder) as server:
            yield GoogleUsersServer(server, issuer, index)
