"""
Who may do what in which index: every kind of caller in main, in `dev` and in `free`.

Grants of the store name `dev`, and none names `free`. Each caller is verified by the authenticator
of an index, as for a request, and is asked for each right before and after the last grant of `dev`
goes: with settings that let anybody read, with those that do not, and with several grants.

`index_matrix.json` has the answers of commit e94b31aa: a line for each caller, where the letters
are those of `RIGHTS`. They were written there by this module, which has to be copied into a
checkout of that commit in the version that still ran on it, the one that added the recording:

    PYTHONPATH=src:. python -m tests.access.index_matrix > index_matrix.json

The functions from `written` to `allowed` say how the settings, the documents and the questions of
e94b31aa look in the version that runs. Nothing else here follows it.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import timedelta
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

from msgspec import convert, json
from msgspec.structs import replace
from packaging.utils import NormalizedName

from tests.access.access_fixture import (
    CI_KEY,
    HERE,
    IAP_HERE,
    PASSWORD,
    PUBLISHING,
    assertion,
    id_token,
    issuer_of,
    publisher_table,
    serve_google,
    times,
)
from tests.authentication.verifiers.fake_issuer import Bearer, FakeIssuer, running_issuer
from tests.distributions import make_wheel
from tests.http.servers import memory_index
from tests.index_tables import toml_of
from tests.operations.in_memory_index import ALICE, OPEN_MAIN
from tests.settings.written import as_toml
from wheelyard.cli.command_context import local_caller
from wheelyard.cli.startup_message import print_startup_message
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Unauthenticated
from wheelyard.model.access import EVERY_PROJECT, Action, Caller, Credential, parse_actions
from wheelyard.model.api_token import NOBODY, IndexScope, TokenOwner, TokenRecord, new_token
from wheelyard.model.grants import GrantFields
from wheelyard.retention.daily import DAILY
from wheelyard.settings.load import load_settings
from wheelyard.wiring.index import Index

RECORDED: Final = Path(__file__).with_name("index_matrix.json")
DEMO: Final = NormalizedName("demo")
DEV, FREE = "dev", "free"
NAMED: Final = ("", DEV, FREE)
"""The index that a right names, if it names one."""
RIGHTS: Final = MappingProxyType(
    {"r": Action.READ, "u": Action.UPLOAD, "m": Action.MANAGE, "a": Action.ADMIN}
)
"""Each right by its letter in the recording."""
NOTHING: Final = "-" * len(RIGHTS)
GRANTED: Final = ("read", "upload", "manage", "admin")
ADDRESS: Final = "127.0.0.1"
LOGIN: Final = "{SHA}mN7MYuzjmaIu0w1JDvMzvn/ec4U="
ENVIRONMENT_TOKEN: Final = "a-static-token-of-the-environment"
PERMISSIONS: Final = MappingProxyType(
    {
        "read": frozenset({"storage.objects.get"}),
        "manage": frozenset(
            f"storage.objects.{permission}" for permission in ("get", "create", "delete")
        ),
    }
)
FIRST_TOKEN: Final = re.compile(r"wyd_[0-9A-Za-z]+")

Stages = dict[str, dict[str, str]]
"""By the stage of grants and by caller: the letters of each index."""
Cells = dict[str, Stages]
"""By the condition, whose settings they are: the stages of the matrix."""
Ask = Callable[[Index], Caller]
"""Returns a caller, verified now, with the rights in an index."""


@dataclass(frozen=True)
class Asker:
    """Somebody who asks."""

    caller_in: Ask
    credential: Credential | None = None
    """What an Authorization header of theirs has, or None if none does."""


def written(
    document: dict[str, object], grants: tuple[tuple[str, str, str], ...]
) -> dict[str, object]:
    """
    Return settings of e94b31aa as an operator has to write them for the present version.

    `grants` were beside them, and are in the store now.
    """
    access = convert(document["access"], dict[str, object])
    if access.pop("htpasswd_may_manage", False):
        access["htpasswd_may"] = ["read", "upload", "manage"]
    elif grants:  # beside which names of the htpasswd file had no rights of their own
        access["htpasswd_may"] = []
    if grants and not _name_anybody(grants):  # beside which nobody read without a credential
        access.setdefault("private", True)
    return {**document, "access": access}


def _name_anybody(grants: tuple[tuple[str, str, str], ...]) -> bool:
    return any(who == ANYBODY for who, _, _ in grants)


def grant_table(who: str, can: str, index: str) -> dict[str, object]:
    """Return a `[[grant]]` table on every project."""
    table: dict[str, object] = {"who": [who], "projects": ["*"], "actions": [can]}
    if index:
        table["index"] = index
    return table


def stored_grant(who: str, can: str, index: str) -> GrantFields:
    """Return a grant of the store on every project."""
    return GrantFields(who=(who,), projects=("*",), actions=(can,), index=index)


def static_table(name: str, index: str) -> str:
    """Return a `[[token]]` table of the file of static tokens."""
    table = f'[[token]]\nname = "{name}"\nvalue = "{static_text(index)}"\n'
    rights = 'can = ["manage"]\nprojects = ["*"]\n'
    if not index:
        return f"{table}{rights}"
    return f'{table}{rights}index = "{index}"\n'


def token_record(
    index: Index, token: str, digest: str, can: str, place: str, owner: TokenOwner
) -> TokenRecord:
    """Return the record of an API token as e94b31aa has stored it."""
    actions = int(parse_actions([can], admin=True))
    now = index.server.runtime.now()
    record = TokenRecord(
        id=token,
        sha256=digest,
        name="test",
        actions=actions,
        projects=(EVERY_PROJECT,),
        created_at=now,
        created_by="local:test",
        expires_at=now + timedelta(days=60),
        owner=owner.principal,
        owner_names=tuple(sorted(owner.names)),
        owner_line=owner.line,
    )
    if not place:
        return record
    scope = IndexScope(place, actions, (EVERY_PROJECT,))
    return replace(record, actions=0, projects=(), in_index=scope)


def allowed(caller: Caller, action: Action) -> bool:
    """Return whether a caller has a right in the index that it was asked for."""
    if action is Action.ADMIN:
        return caller.may_everywhere(action)
    return caller.may(action, DEMO)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What the settings say of access, and which grants the store has for everybody."""

    access: Mapping[str, object] = field(default_factory=dict)
    """Keys of `[access]`."""
    grants: tuple[tuple[str, str, str], ...] = ()
    """Of each `[[grant]]` of e94b31aa: to whom, what, and in which index, if it names one."""
    stored: tuple[tuple[str, str, str], ...] = ()
    """Of each grant in the store besides those of callers: to whom, what, and in which index."""
    has_everybody: bool = False
    """Whether all kinds of callers are asked, and not only a few of each family."""
    is_first_start: bool = False
    """Whether nothing but the first token opens the index."""


CONFIGURED: Final = "htpasswd:configured"
PRIVATE: Final = MappingProxyType({"private": True})
TABLE: Final = ((CONFIGURED, "manage", ""), ("htpasswd:other", "admin", ""))
TABLE_OF_DEV: Final = ((CONFIGURED, "manage", DEV),)
ANYBODY: Final = "anonymous"
CREDENTIALS: Final = "allAuthenticated"
PASSWORDS_MANAGE: Final = MappingProxyType({"htpasswd_may_manage": True})
OPEN_UPLOADS: Final = MappingProxyType({"anonymous_uploads": True})
CONDITIONS: Final[Mapping[str, Condition]] = MappingProxyType(
    {
        "open": Condition(has_everybody=True),
        "private": Condition(access=PRIVATE, has_everybody=True),
        "settings grant": Condition(grants=TABLE, has_everybody=True),
        "settings grant, private": Condition(access=PRIVATE, grants=TABLE, has_everybody=True),
        "settings grant, private = false": Condition(access={"private": False}, grants=TABLE),
        "settings grant in dev": Condition(grants=TABLE_OF_DEV),
        "settings grant in dev, private": Condition(access=PRIVATE, grants=TABLE_OF_DEV),
        "settings grant to anonymous": Condition(grants=((ANYBODY, "read", ""),)),
        "settings grant to anonymous in dev": Condition(grants=((ANYBODY, "read", DEV),)),
        "settings grant to anonymous in dev, private": Condition(
            access=PRIVATE, grants=((ANYBODY, "read", DEV),)
        ),
        "store grant to credentials": Condition(stored=((CREDENTIALS, "upload", ""),)),
        "store grant to credentials, private": Condition(
            access=PRIVATE, stored=((CREDENTIALS, "upload", ""),)
        ),
        "store grant to credentials in dev": Condition(stored=((CREDENTIALS, "upload", DEV),)),
        "store grant to credentials in dev, private": Condition(
            access=PRIVATE, stored=((CREDENTIALS, "upload", DEV),)
        ),
        "anonymous uploads": Condition(access=OPEN_UPLOADS),
        "anonymous uploads, private": Condition(access=OPEN_UPLOADS | PRIVATE),
        "passwords manage": Condition(access=PASSWORDS_MANAGE),
        "passwords manage, private": Condition(access=PASSWORDS_MANAGE | PRIVATE),
        "first start": Condition(is_first_start=True),
        "first start, private": Condition(access=PRIVATE, is_first_start=True),
    }
)
STAGES: Final = ("dev has grants", "last grant of dev gone")


@dataclass(frozen=True)
class Matrix:
    """What each caller may do now, under each condition and at each stage of grants."""

    cells: Cells = field(default_factory=dict)

    @classmethod
    def computed(cls) -> "Matrix":
        """Return the matrix of the version that runs."""
        matrix = cls()
        with running_issuer() as site:
            serve_google(site)
            for name, condition in CONDITIONS.items():
                with TemporaryDirectory() as folder:
                    matrix.add(name, condition, Path(folder), site)
        return matrix

    def add(self, name: str, condition: Condition, folder: Path, site: FakeIssuer) -> None:
        """Add what callers may do under a condition."""
        opened = OpenedIndex.of(condition, folder, site)
        opened.add_askers()
        with_grants = opened.answers()
        opened.revoke_those_of_dev()
        self.cells[name] = dict(zip(STAGES, (with_grants, opened.answers()), strict=True))


@dataclass(frozen=True, kw_only=True)
class OpenedIndex:
    """An index under a condition, with everybody who asks."""

    index: Index
    site: FakeIssuer
    condition: Condition
    askers: dict[str, Asker] = field(default_factory=dict)
    """By the kind of caller."""
    of_dev: list[str] = field(default_factory=list)
    """The ids of the grants of the store that name `dev`."""

    @classmethod
    def of(
        cls, condition: Condition, folder: Path, site: FakeIssuer, runtime: Runtime | None = None
    ) -> "OpenedIndex":
        """Return a new index."""
        document = written(_settings_of(condition, folder, site), condition.grants)
        file = folder / "wheelyard.toml"
        file.write_text("".join(f"{key} = {as_toml(value)}\n" for key, value in document.items()))
        environ = {"WHEELYARD_ACCESS_STATIC_TOKEN": ENVIRONMENT_TOKEN}
        if condition.is_first_start:
            environ = {}
        settings = load_settings(file=file, environ=environ).settings
        spool = folder / "spool"
        spool.mkdir()
        tables = _tables_of(condition, site)
        index = memory_index(spool, settings, runtime, google=site.google, tables=tables)
        opened = cls(index=index, site=site, condition=condition)
        for part in opened.parts().values():
            part.uploads.accept(make_wheel().arrival(spool), ALICE)
        return opened

    def add_askers(self) -> None:
        """Add everybody who asks, with their grants."""
        self.askers["anonymous"] = Asker(_anonymous)
        if self.condition.is_first_start:
            self.add_first_token()
        self.grant("htpasswd:somebody", "manage", DEV)
        for who, can, place in self.condition.stored:
            self.grant(who, can, place)
        if self.condition.is_first_start:
            return
        self.add_passwords()
        self.add_google()
        self.add_groups()
        self.add_api_tokens()
        self.add_own_tokens()
        self.add_static_tokens()
        self.add_publishers()
        self.add_bucket_rights()
        self.askers["local command"] = Asker(local_caller)
        self.askers["daily retention"] = Asker(lambda _: DAILY)

    def parts(self) -> dict[str, Index]:
        """Return main and the other indexes by name."""
        return {"main": self.index, DEV: self.index.named(DEV), FREE: self.index.named(FREE)}

    def answers(self) -> dict[str, str]:
        """Return the letters of the rights in each index by caller."""
        is_complete = self.condition.has_everybody or self.condition.is_first_start
        kinds = sorted(self.askers if is_complete else FEW)
        return {kind: self._line(self.askers[kind]) for kind in kinds}

    def _line(self, asker: Asker) -> str:
        parts = self.parts().items()
        return " ".join(f"{name} {_letters(asker.caller_in, part)}" for name, part in parts)

    def grant(self, who: str, can: str, place: str) -> None:
        """Add a grant to the store."""
        granted = self.index.server.access.grant(stored_grant(who, can, place), by="local:test")
        if place == DEV:
            self.of_dev.append(granted)

    def revoke_those_of_dev(self) -> None:
        """Revoke every grant of the store that names `dev`."""
        for grant in self.of_dev:
            self.index.server.access.revoke(grant, by="local:test")

    def add_first_token(self) -> None:
        """Add the token that the first start prints."""
        printed = StringIO()
        with redirect_stdout(printed):
            print_startup_message(self.index)
        found = FIRST_TOKEN.search(printed.getvalue())
        assert found is not None, printed.getvalue()
        self.askers["first token"] = _by(Credential("", found[0], is_bearer=True))

    def add_passwords(self) -> None:
        """Add names of the htpasswd file, with a grant and without one, and one in a browser."""
        self.askers["password without a grant"] = _by(_password("stranger"))
        self.askers["password with a grant of the settings"] = _by(_password("configured"))
        for can in GRANTED:
            for place in ("", DEV):
                name = _user(can, place)
                self.grant(f"htpasswd:{name}", can, place)
                self.askers[f"password {_kind(can, place)}"] = _by(_password(name))
        for can in ("manage", "admin"):
            for place in ("", DEV):
                asker = self._session(_password(_user(can, place)))
                self.askers[f"session of a password {_kind(can, place)}"] = asker
        self.askers["session of a password without a grant"] = self._session(_password("stranger"))

    def _session(self, credential: Credential) -> Asker:
        caller = self.index.authenticator.authenticate(credential, ADDRESS)
        cookie, _ = self.index.sessions.begin(credential, caller)

        def caller_in(index: Index) -> Caller:
            found = index.sessions.caller(cookie)
            assert found is not None
            return found

        return Asker(caller_in)

    def add_google(self) -> None:
        """Add people of Google, service accounts, and whoever comes through the proxy."""
        self.askers["ID token without a grant"] = _by(_bearer(id_token("stranger@acme.dev")))
        self.askers["proxy without a grant"] = _by_proxy("stranger@acme.dev")
        for can in ("manage", "admin"):
            for place in ("", DEV):
                email = f"{_user(can, place)}@acme.dev"
                self.grant(f"user:{email}", can, place)
                self.askers[f"ID token {_kind(can, place)}"] = _by(_bearer(id_token(email)))
                self.askers[f"proxy {_kind(can, place)}"] = _by_proxy(email)
        for place in ("", DEV):
            domain, kind = f"{_user('manage', place)}.example", _kind("manage", place)
            self.grant(f"domain:{domain}", "manage", place)
            self.askers[f"domain {kind}"] = _by(_bearer(id_token(f"ana@{domain}", hd=domain)))
            robot = f"{_user('manage', place)}@acme.iam.gserviceaccount.com"
            self.grant(f"serviceAccount:{robot}", "manage", place)
            self.askers[f"service account {kind}"] = _by(_bearer(id_token(robot, hd=None)))

    def add_groups(self) -> None:
        """Add members of groups that have a grant."""
        for place in ("", DEV):
            name = f"member-{place or 'nowhere'}"
            members = [f"htpasswd:{name}"]
            self.index.server.access.edit_group("make", f"team-{name}", members, by="local:test")
            self.grant(f"group:team-{name}", "manage", place)
            self.askers[f"group {_kind('manage', place)}"] = _by(_password(name))

    def add_api_tokens(self) -> None:
        """Add API tokens of nobody."""
        for can in GRANTED:
            for place in (*NAMED, f"{DEV},{FREE}"):
                self.askers[f"API token {_kind(can, place)}"] = self._api_token(can, place, NOBODY)

    def add_own_tokens(self) -> None:
        """Add API tokens that people have made for themselves."""
        owners = {"without a grant": "htpasswd:stranger"}
        for can in ("manage", "admin"):
            for place in ("", DEV):
                owners[f"with {_kind(can, place)}"] = f"htpasswd:{_user(can, place)}"
                owners[f"at Google with {_kind(can, place)}"] = f"user:{_user(can, place)}@acme.dev"
        for kind, principal in owners.items():
            owner = self.index.authenticator.owners.named(principal)
            for place in NAMED:
                asker = self._api_token("admin", place, owner)
                self.askers[f"own token{_in(place)} of somebody {kind}"] = asker

    def _api_token(self, can: str, place: str, owner: TokenOwner) -> Asker:
        token = new_token(self.index.server.runtime.random)
        record = token_record(self.index, token.id, token.digest, can, place, owner)
        token, _ = self.index.tokens.store(token, record)
        return _by(_bearer(token.text))

    def add_static_tokens(self) -> None:
        """Add the static tokens of the file, and that of the environment."""
        for place in NAMED:
            self.askers[f"static token{_in(place)}"] = _by(_bearer(static_text(place)))
        self.askers["static token of the environment"] = _by(_bearer(ENVIRONMENT_TOKEN))

    def add_publishers(self) -> None:
        """Add tokens that were minted for CI jobs."""
        publishing = self.index.authenticator.trusted_publishing
        assert publishing is not None
        for place in NAMED:
            name = _publisher(place)
            claims = {"iss": f"{self.site.url}/ci", "sub": name, "jti": name, "aud": PUBLISHING}
            minted = publishing.mint(CI_KEY.token({**claims, **times(300)}))
            self.askers[f"trusted publisher{_in(place)}"] = _by(_bearer(minted.token.text))

    def add_bucket_rights(self) -> None:
        """Add access tokens of Google, whose rights are those on a bucket."""
        for can, permissions in PERMISSIONS.items():
            token = f"ya29.access-token-to-{can}"
            self.site.bearers[token] = Bearer(permissions)
            credential = Credential("oauth2accesstoken", token)
            self.askers[f"bucket rights to {can}"] = _by(credential)


FEW: Final = frozenset(
    {
        "anonymous",
        "password without a grant",
        "password with a grant of the settings",
        "password to manage",
        "password to manage in dev",
        "session of a password without a grant",
        "ID token without a grant",
        "group to manage",
        "group to manage in dev",
        "API token to read",
        "API token to manage in dev",
        "own token of somebody without a grant",
        "own token of somebody with to manage",
        "own token in dev of somebody with to manage in dev",
        "static token",
        "static token in dev",
        "trusted publisher",
        "trusted publisher in dev",
        "bucket rights to read",
    }
)
"""Those who are asked under every condition."""


def _letters(caller_in: Ask, index: Index) -> str:
    """Return the letters of what a caller may do in an index, with a dash for each other right."""
    try:
        caller = caller_in(index)
    except Unauthenticated:
        return NOTHING
    return letters({letter: allowed(caller, action) for letter, action in RIGHTS.items()})


def letters(held: Mapping[str, bool]) -> str:
    """Return the letters of the rights that are held, with a dash for each other one."""
    dashes = {ord(letter): "-" for letter in RIGHTS if not held[letter]}
    return "".join(RIGHTS).translate(dashes)


def _settings_of(condition: Condition, folder: Path, site: FakeIssuer) -> dict[str, object]:
    """Return the settings of a condition, without the tables that the store has now."""
    document: dict[str, object] = {
        "access": {"failed_login_per_minute": 1_000_000, **condition.access},
    }
    if condition.is_first_start:
        return document
    document["access"] = {
        "failed_login_per_minute": 1_000_000,
        "htpasswd_file": str(_htpasswd_file(folder)),
        "static_tokens_file": str(_static_file(folder)),
        **condition.access,
    }
    document["google"] = {
        "allow_private": True,
        "id_token": {"audience": [HERE]},
        "access_token": {"resource": f"gs://{site.bucket}"},
    }
    document["iap"] = {"audience": [IAP_HERE]}
    section = {"audience": [PUBLISHING], "private_issuers": [issuer_of(site)]}
    document["trusted_publishing"] = section
    return document


def _tables_of(condition: Condition, site: FakeIssuer) -> str:
    """Return what the store has of a condition from the beginning."""
    publishers = list[dict[str, object]]()
    if not condition.is_first_start:
        publishers = [publisher_table(site, _publisher(place), [DEMO], place) for place in NAMED]
    main: dict[str, object] = {**OPEN_MAIN}
    if _name_anybody(condition.grants):
        main["read"] = "granted"
    return toml_of(
        main=main,
        index=({"name": DEV}, {"name": FREE}),
        grant=[grant_table(*grant) for grant in condition.grants],
        publisher=publishers,
    )


def _htpasswd_file(folder: Path) -> Path:
    granted = [_user(can, place) for can in GRANTED for place in ("", DEV)]
    names = ("stranger", "configured", "other", "member-nowhere", "member-dev", *granted)
    path = folder / "htpasswd"
    path.write_text("".join(f"{name}:{LOGIN}\n" for name in names))
    path.chmod(0o600)
    return path


def _static_file(folder: Path) -> Path:
    path = folder / "tokens.toml"
    path.write_text("\n".join(static_table(f"of-{place or 'nowhere'}", place) for place in NAMED))
    path.chmod(0o600)
    return path


def static_text(place: str) -> str:
    """Return the text of the static token that names an index."""
    return f"a-static-token-of-{place or 'nowhere'}"


def _publisher(place: str) -> str:
    return f"job-{place or 'nowhere'}"


def _user(can: str, place: str) -> str:
    return f"{can}-{place or 'nowhere'}"


def _in(place: str) -> str:
    if not place:
        return ""
    return f" in {place}"


def _kind(can: str, place: str) -> str:
    return f"to {can}{_in(place)}"


def _password(name: str) -> Credential:
    return Credential(name, PASSWORD)


def _bearer(text: str) -> Credential:
    return Credential("", text, is_bearer=True)


def _anonymous(index: Index) -> Caller:
    return index.read_policy.anonymous()


def _by(credential: Credential) -> Asker:
    return Asker(lambda index: index.authenticator.authenticate(credential, ADDRESS), credential)


def _by_proxy(email: str) -> Asker:
    return Asker(lambda index: index.authenticator.authenticate_assertion(assertion(email)))


def recorded() -> Cells:
    """Return the matrix of e94b31aa."""
    return json.decode(RECORDED.read_bytes(), type=Cells)


@dataclass(frozen=True, order=True)
class Difference:
    """What a caller may do in an index now, and what it might."""

    condition: str
    stage: str
    caller: str
    index: str
    before: str
    """The letters of the recording."""
    now: str

    @property
    def opens(self) -> bool:
        """Whether the caller may do now what it might not."""
        return any(new not in (old, "-") for old, new in zip(self.before, self.now, strict=True))


def differences(before: Cells, now: Cells) -> Iterator[Difference]:
    """Yield what differs between matrices of the same conditions, stages and callers."""
    for condition, stages in before.items():
        for stage, callers in stages.items():
            for caller, line in callers.items():
                old, new = line.split(), now[condition][stage][caller].split()
                # the names of indexes have their letters behind them
                for index, held, holds in zip(old[::2], old[1::2], new[1::2], strict=True):
                    if held != holds:
                        yield Difference(condition, stage, caller, index, held, holds)


def as_text(cells: Cells) -> str:
    """Return a matrix with one line for each caller, in the order of names."""
    text = json.format(json.encode(cells, order="sorted"), indent=1).decode()
    return f"{text}\n"


if __name__ == "__main__":
    sys.stdout.write(as_text(Matrix.computed().cells))
