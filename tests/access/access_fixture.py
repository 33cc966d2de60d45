"""
An index with projects of three kinds, everybody whom it knows, and a count of what its store does.

Projects: `open-*` may be read by anybody, `shut-*` by those who are named, and of `secret-*` the
settings say besides that its very names are private. Of each kind one exists and one does not, with
names of the same length, so that two answers can be compared byte by byte.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path

from msgspec import convert

from tests.authentication.verifiers.fake_issuer import (
    FakeIssuer,
    ec_key,
    google_claims,
    iap_claims,
    rsa_key,
    running_issuer,
)
from tests.distributions import Distribution, make_wheel
from tests.fake_store import FakeStore
from tests.fake_time import Clock
from tests.http.in_process import InProcessServer
from tests.http.packages import form
from tests.http.servers import memory_index
from tests.in_process_network import NetworkOrPorts
from tests.index_tables import toml_of
from tests.operations.in_memory_index import OPEN_MAIN
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.catalog import keys
from wheelyard.concurrency.runtime import Runtime
from wheelyard.http.app import App
from wheelyard.model.access import Action, parse_actions, parse_pattern
from wheelyard.model.api_token import TokenOwner
from wheelyard.settings.sections import Settings
from wheelyard.settings.validation import validate
from wheelyard.storage.memory import MemoryStore
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import system_runtime

HERE = "https://packages.acme.dev"
"""The audience of this index in ID tokens."""
IAP_HERE = "/projects/1234/global/backendServices/5678"
PUBLISHING = "packages.acme.dev"
GOOGLE_KEY, IAP_KEY, CI_KEY = rsa_key("google"), ec_key("iap"), rsa_key("ci")
PASSWORD = "correct horse battery"

KINDS = ("open", "shut", "secret")
EXISTING = tuple(f"{kind}-lib" for kind in KINDS)
MISSING = tuple(f"{kind}-not" for kind in KINDS)
OTHER = "other-lib"
INDEXES = ("lab", "main")
"""Those that every right is about; not every harness has the first."""
READERS, UPLOADERS, MANAGERS = "reader", "uploader", "manager"
RIGHTS = {READERS: "read", UPLOADERS: "upload", MANAGERS: "manage"}


@dataclass(frozen=True)
class RecordedResponse:
    """A response, and the keys that were read from the store to make it."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    store_keys: tuple[str, ...]
    """Keys without those that are read to know who asks, and for which index a path is."""

    def header(self, name: str) -> str:
        """Return a header, or nothing."""
        return dict(self.headers).get(name, "")

    def without(self, name: str) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        """Return what a client sees, with a project's name taken out of it."""
        spelt = (name, name.replace("-", "_"), name.title().replace("-", "_"))
        body, headers = self.body, self.headers
        for each in spelt:
            body = body.replace(each.encode(), b"NAME")
            headers = tuple((key, value.replace(each, "NAME")) for key, value in headers)
        return self.status, headers, body


@dataclass(frozen=True)
class AccessHarness:
    """An index that is called through ASGI, without a socket."""

    in_process: InProcessServer
    store: FakeStore
    google: FakeIssuer
    packages: dict[str, Distribution]
    prefix: str = ""
    day: date | None = None
    """A UTC day by which all is uploaded. Tests may run behind the midnight that ends it."""
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def index(self) -> Index:
        """The index."""
        return self.in_process.index

    def request(
        self, method: str, path: str, headers: tuple[tuple[str, str], ...] = (), body: bytes = b""
    ) -> RecordedResponse:
        """Send one request, byte for byte as it is written here."""
        begun = len(self.store.calls)
        lines = (*headers, ("content-length", str(len(body)))) if body else headers
        pieces = [body] if body else []
        response = self.in_process.get(f"{self.prefix}{path}", *lines, method=method, body=pieces)
        passed_over = ("credentials/", keys.INDEX_LIST)
        calls = self.store.calls[begun:]
        store_keys = tuple(key for _, key in calls if not key.startswith(passed_over))
        return RecordedResponse(
            response.status, tuple(response.headers.items()), response.body, store_keys
        )

    def upload(
        self, package: Distribution, headers: tuple[tuple[str, str], ...], path: str = "/legacy/"
    ) -> RecordedResponse:
        """Upload a package."""
        kind = ("content-type", "multipart/form-data; boundary=frontier")
        return self.request("POST", path, (*headers, kind), form(package))

    def token(self, *projects: str, can: str, owner: str = "", names: tuple[str, ...] = ()) -> str:
        """Make an API token."""
        request = TokenRequest(
            name="test",
            actions=parse_actions([can], admin=True),
            projects=tuple(parse_pattern(project) for project in projects),
            indexes=INDEXES,
            lifetime=timedelta(days=1),
            owner=TokenOwner(owner, frozenset(names)),
        )
        return self.index.tokens.create(request, by="local:test")[0].text

    def token_of(self, owner: str) -> str:
        """Make an API token for somebody, within whose rights it may do everything."""
        request = TokenRequest(
            name="test",
            actions=Action.MANAGE.with_implied,
            indexes=INDEXES,
            owner=self.index.authenticator.owners.named(owner),
        )
        return self.index.tokens.create(request, by="local:test")[0].text

    def minted(self, publisher: str) -> str:
        """Exchange the ID token of a CI job for an upload token."""
        assert self.index.authenticator.trusted_publishing is not None
        claims = {
            "iss": f"{self.google.url}/ci",
            "sub": publisher,
            "jti": f"{publisher}-{next(self._numbers)}",
            "aud": PUBLISHING,
            **times(300),
        }
        return self.index.authenticator.trusted_publishing.mint(CI_KEY.token(claims)).token.text


def times(seconds: int) -> dict[str, object]:
    """Return the times of a token that is good for some seconds."""
    now = int(system_runtime().now().timestamp())
    return {"iat": now - 1, "nbf": now - 1, "exp": now + seconds}


def id_token(email: str, **changes: object) -> str:
    """Return an ID token as Google makes them."""
    return GOOGLE_KEY.token({**google_claims(email, HERE), **times(3600), **changes})


def assertion(email: str) -> str:
    """Return an IAP assertion for a user."""
    return IAP_KEY.token({**iap_claims(email, IAP_HERE), **times(590)})


def static_token(role: str) -> str:
    """Return the text of a static token."""
    return f"a-static-token-of-{role}"


def serve_google(site: FakeIssuer) -> None:
    """Make the fake issuer publish all keys."""
    site.serve_jwks([key.jwk() for key in (GOOGLE_KEY, IAP_KEY, CI_KEY)])


def values(folder: Path, site: FakeIssuer, *, is_open: bool, **more: object) -> dict[str, object]:
    """Return the settings, as a file would have them."""
    return {
        "access": {
            "private": not is_open,
            "private_names": ["secret-*"],
            "htpasswd_file": str(folder / "htpasswd"),
            "htpasswd_may": [],
            "static_tokens_file": str(folder / "tokens.toml"),
            "failed_login_per_minute": 1_000_000_000,
        },
        "google": {
            "allow_private": True,
            "id_token": {"audience": [HERE]},
            "access_token": {"resource": f"gs://{site.bucket}", "indexes": INDEXES},
        },
        "trusted_publishing": {"audience": [PUBLISHING], "private_issuers": [issuer_of(site)]},
        **more,
    }


def tables(site: FakeIssuer, *, is_open: bool) -> str:
    """Return what the store has of main and of rights, as TOML."""
    main: dict[str, object] = {**OPEN_MAIN}
    if is_open:  # to whom the grants say
        main["read"] = "granted"
    projects = ["open-*", "shut-*", "secret-*"]
    grants: list[dict[str, object]] = [
        {
            "who": [
                f"user:{role}@acme.dev",
                f"serviceAccount:{role}@acme.iam.gserviceaccount.com",
                f"domain:{role}.example",
                f"htpasswd:{role}",
            ],
            "projects": projects,
            "actions": [can],
            "index": ",".join(INDEXES),
        }
        for role, can in RIGHTS.items()
    ]
    admin = ["user:admin@acme.dev", "htpasswd:admin"]
    grants.append({"who": admin, "projects": ["*"], "actions": ["admin"]})
    if is_open:
        grants.append({"who": ["anonymous"], "projects": ["open-*"], "actions": ["read"]})
    publishers = [
        publisher_table(site, "this", [*EXISTING, *MISSING], ",".join(INDEXES)),
        publisher_table(site, "that", [OTHER], ",".join(INDEXES)),
    ]
    return toml_of(main=main, grant=grants, publisher=publishers)


def issuer_of(site: FakeIssuer) -> str:
    """Return the issuer of the ID tokens of jobs."""
    return f"{site.url}/ci"


def write_files(folder: Path) -> None:
    """Write the htpasswd file and the static tokens."""
    hashed = "{SHA}mN7MYuzjmaIu0w1JDvMzvn/ec4U="
    roles = ("stranger", *RIGHTS, "admin")
    path = folder / "htpasswd"
    path.write_text("".join(f"{role}:{hashed}\n" for role in roles))
    path.chmod(0o600)
    projects = dict.fromkeys(RIGHTS, '["open-*", "shut-*", "secret-*"]')
    projects["stranger"] = f'["{OTHER}"]'
    tables = [
        f'[[token]]\nname = "{role}"\nvalue = "{static_token(role)}"\n'
        f'can = ["{RIGHTS.get(role, "upload")}"]\nprojects = {patterns}\n'
        f"indexes = {list(INDEXES)}\n"
        for role, patterns in projects.items()
    ]
    path = folder / "tokens.toml"
    path.write_text("\n".join(tables))
    path.chmod(0o600)


def put_behind_the_proxy(document: dict[str, object]) -> None:
    """Change a settings document so that the web UI is behind IAP."""
    document["iap"] = {"audience": [IAP_HERE]}


@contextmanager
def open_harness(
    folder: Path,
    *,
    is_open: bool = True,
    adjust: Callable[[dict[str, object]], None] = lambda _: None,
    runtime: Runtime | None = None,
    indexes: Sequence[dict[str, object]] = (),
    network: NetworkOrPorts = None,
    **more: object,
) -> Iterator[AccessHarness]:
    """
    Open an index in memory, with its projects in it.

    Args:
        folder: For its files.
        is_open: Whether anybody may read `open-*`.
        adjust: Changes the settings, as a file would have them.
        runtime: Its clocks, if they are not this machine's.
        indexes: Its other indexes.
        network: Where the stand-in for Google listens.
        **more: Sections of the settings.
    """
    write_files(folder)
    with running_issuer(network) as site, asyncio.Runner() as runner:
        serve_google(site)
        document = values(folder, site, is_open=is_open, **more)
        adjust(document)
        settings = validate(convert(document, Settings, strict=False))
        store = FakeStore(MemoryStore(lambda: 0.0))
        (folder / "spool").mkdir(exist_ok=True)
        spool = folder / "spool"
        index = memory_index(
            spool,
            settings,
            runtime,
            store=store,
            google=site.google,
            tables=toml_of(index=indexes) + tables(site, is_open=is_open),
        )
        in_process = InProcessServer(App(index), index, folder, Clock(), runner)
        packages = {name: make_wheel(name) for name in (*EXISTING, *MISSING, OTHER)}
        harness = AccessHarness(in_process, store, site, packages, settings.server.path_prefix)
        token = harness.token("*", can="upload")
        for name in (*EXISTING, OTHER):
            answer = harness.upload(packages[name], (("authorization", f"Bearer {token}"),))
            assert answer.status == 200, answer.body
        yield replace(harness, day=index.server.runtime.now().date())
        in_process.tell("lifespan", "lifespan.shutdown")


def digest(package: Distribution) -> str:
    """Return the digest that a file's URL has in it."""
    return sha256(package.body).hexdigest()


def publisher_table(
    site: FakeIssuer, name: str, projects: list[str], index: str
) -> dict[str, object]:
    """Return a `[[publisher]]` table that is for jobs with this subject."""
    table: dict[str, object] = {
        "id": name,
        "provider": "oidc",
        "issuer": issuer_of(site),
        "jwks_url": site.keys_url,
        "match": {"sub": name},
        "projects": projects,
    }
    if index:
        table["index"] = index
    return table
