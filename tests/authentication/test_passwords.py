"""New passwords: lines of htpasswd files, and passwords that people change themselves."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.authentication.verifiers.password_fixture import BlockingHasher
from tests.authentication.verifiers.test_password_hashes import APR1, BCRYPT, SHA, SHA512
from tests.operations.in_memory_index import Clock, fake_runtime
from tests.refused import refused
from wheelyard.authentication import passwords
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.passwords import (
    PasswordChanges,
    line_number,
    require_new_password,
    require_user_name,
    with_line,
)
from wheelyard.authentication.verifiers.htpasswd import (
    HtpasswdVerifier,
    line_digest,
    parse_hash,
    parse_htpasswd,
)
from wheelyard.catalog import keys
from wheelyard.errors import Conflict, Forbidden, Invalid, Unauthenticated, Unavailable
from wheelyard.model.access import Caller, Credential
from wheelyard.operations.copying.credential_copy import CredentialCopy
from wheelyard.settings.sections import AccessSettings, ServerSettings, Settings
from wheelyard.storage.base import Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits

HERE = "192.0.2.1"
OLD, NEW, NEWER = "s3cret", "correct horse", "battery staple"
BUCKET_SECONDS = 15
FILE_SECONDS = 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make hashes as weak as bcrypt allows, as they would take most of the time."""
    monkeypatch.setattr(passwords, "ROUNDS", 4)


def login(password: str, name: str = "ana") -> Credential:
    """Return a name and a password from one network."""
    return Credential(name, password, client_network=HERE)


@dataclass
class Servers:
    """An index in a bucket with two servers, whose caches are their own."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    hashing: BlockingHasher = field(default_factory=BlockingHasher)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock.seconds)
        self.file = self.folder / "htpasswd"
        self.file.write_text(f"ana:{SHA512}\nbo:{SHA512}\n")
        self.one, self.other = self.opened(1), self.opened(2)

    def opened(self, seed: int, store: MemoryStore | None = None) -> Index:
        """Return one more server."""
        access = AccessSettings(htpasswd_file=str(self.file), failed_login_per_minute=1000)
        settings, traits = Settings(access=access), StoreTraits(is_local=False)
        runtime = fake_runtime(self.clock, seed)
        index = build_index(
            Stores.of(store or self.store), Spool(self.folder), settings, runtime, traits
        )
        changed = index.catalog.changed_passwords
        verifier = HtpasswdVerifier(self.file, bytes(32), self.clock.seconds, changed, self.hashing)
        owners = replace(index.authenticator.owners, htpasswd=verifier)
        authenticator = replace(index.authenticator, htpasswd=verifier, owners=owners)
        sessions = index.sessions
        sessions.authenticator = authenticator
        return replace(index, authenticator=authenticator, sessions=sessions)

    def change(self, old: str, new: str, index: Index | None = None) -> Credential:
        """Change the password of Ana at the first server."""
        caller = Caller("htpasswd:ana", (), frozenset({"htpasswd:ana"}))
        return changes(index or self.one).change(caller, login(old), new)

    def opens(self, password: str, index: Index, name: str = "ana") -> bool:
        """Return whether a name and a password are right at a server."""
        try:
            index.authenticator.authenticate(login(password, name), HERE)
        except Unauthenticated:
            return False
        return True

    def write(self, *lines: str) -> None:
        """Write the file, and let all servers notice."""
        self.file.write_text("".join(f"{line}\n" for line in lines))
        self.clock.advance(seconds=FILE_SECONDS)


def changes(index: Index) -> PasswordChanges:
    """Return what changes passwords at a server."""
    made = index.passwords
    assert made is not None
    return made


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """Return two servers of one index."""
    return Servers(tmp_path)


def test_a_changed_password_opens_every_server_at_once(servers: Servers) -> None:
    """A new password opens each server at once, and the old one no other after 15 seconds."""
    assert servers.opens(OLD, servers.one)
    assert servers.opens(OLD, servers.other)
    servers.clock.advance(seconds=1)

    servers.change(OLD, NEW)

    assert servers.opens(NEW, servers.other)
    assert not servers.opens(OLD, servers.one)
    servers.clock.advance(seconds=BUCKET_SECONDS)
    assert [servers.opens(OLD, index) for index in (servers.one, servers.other)] == [False] * 2
    servers.change(NEW, NEWER, servers.other)
    servers.clock.advance(seconds=BUCKET_SECONDS)
    opened = [servers.opens(NEWER, index) for index in (servers.one, servers.other)]
    assert (opened, servers.opens(NEW, servers.one)) == ([True] * 2, False)
    assert servers.opens(OLD, servers.one, "bo")


def test_other_sessions_end_with_the_password(servers: Servers) -> None:
    """A new password ends all sessions but the one that it begins, and no token."""
    owner = servers.one.authenticator.owners.named("htpasswd:ana")
    token, _ = servers.one.tokens.create(TokenRequest(name="laptop", owner=owner), "local:op")
    before = login(OLD)
    caller = servers.one.authenticator.authenticate(before, HERE)
    old, _ = servers.one.sessions.begin(before, caller)
    assert servers.other.sessions.caller(old) is not None
    servers.clock.advance(seconds=2)

    credential = servers.change(OLD, NEW)
    new, _ = servers.one.sessions.begin(credential, caller)

    assert servers.one.sessions.caller(old) is None
    assert servers.other.sessions.caller(new) == caller
    servers.clock.advance(seconds=BUCKET_SECONDS)
    assert servers.other.sessions.caller(old) is None
    bearer = Credential("", token.text, is_bearer=True)
    seen = servers.one.authenticator.authenticate(bearer, HERE)
    assert seen.principal == f"token:{token.id}"
    servers.write(f"ana:{APR1}")
    with refused(Unauthenticated, "owner_ended"):
        servers.one.authenticator.authenticate(bearer, HERE)


def test_the_line_of_the_operator_wins(servers: Servers) -> None:
    """A changed or removed line wins over a password that its user has changed, at once."""
    servers.change(OLD, NEW)
    servers.write(f"ana:{BCRYPT}")  # for the same password as before
    assert (servers.opens(OLD, servers.one), servers.opens(NEW, servers.one)) == (True, False)
    servers.write(f"bo:{SHA512}")
    assert not any(servers.opens(text, servers.one) for text in (OLD, NEW))
    servers.write(f"ana:{BCRYPT}")
    servers.change(OLD, NEWER)
    assert servers.opens(NEWER, servers.one)
    # what belonged to the first line is gone for good
    servers.write(f"ana:{SHA512}")
    assert [servers.opens(text, servers.one) for text in (OLD, NEW, NEWER)] == [True, False, False]


def test_a_wrong_guess_costs_the_same_for_everybody(servers: Servers) -> None:
    """A guess costs the same, whether the name exists, and whether its password was changed."""
    assert not servers.opens("guess", servers.one, "nobody")
    assert len(servers.hashing.done) == 1
    servers.change(OLD, NEW)
    servers.clock.advance(seconds=BUCKET_SECONDS)

    costs = []
    for name in ("ana", "bo", "nobody"):
        servers.hashing.done.clear()
        assert not servers.opens("guess", servers.one, name)
        costs.append(sorted(map(str, map(parse_hash, servers.hashing.done))))

    assert len(costs[0]) == 2
    assert costs[0] == costs[1] == costs[2]
    servers.hashing.done.clear()
    assert servers.opens(OLD, servers.other, "bo")
    assert len(servers.hashing.done) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (OLD, OLD, "is the present one"),
        (OLD, "7 chars", "fewer than 8 characters"),
        (OLD, "x" * 73, "more than 72 bytes"),
        (OLD, "ä" * 37, "more than 72 bytes"),
        (OLD, "with\ta tab", "control character"),
        (OLD, "with \ud800 this", "control character"),
        (OLD, "wyd_and more", "begins as an API token"),
        (OLD, '{"private_key": 1}', "key of a service account"),
    ],
)
def test_not_every_password_is_taken(servers: Servers, old: str, new: str, words: str) -> None:
    """A password that nobody could sign in with, or that is too short, is refused, and why."""
    with refused(Invalid, "invalid_field", match=words) as caught:
        servers.change(old, new)

    assert (caught.value.field, new in caught.value.message) == ("new", False)
    assert not list(servers.store.list(keys.CHANGED_PASSWORDS))


def test_only_its_user_changes_a_password(tmp_path: Path, servers: Servers) -> None:
    """Whoever lacks the present password, or has signed in with something else, changes none."""
    made = changes(servers.one)
    ana = Caller("htpasswd:ana", (), frozenset({"htpasswd:ana"}))
    with pytest.raises(Unauthenticated, match="Wrong name or password"):
        servers.change("guess", NEW)
    with refused(Forbidden, "forbidden", match="somebody else"):
        made.change(ana, login(OLD, "bo"), NEW)
    for principal in ("token:0123456789", "user:ana@acme.dev", "oidc:acme:ana", "static:ci"):
        with refused(Forbidden, "forbidden", match="has no password here"):
            made.change(Caller(principal, ()), login(OLD), NEW)
    with refused(Forbidden, "read_only"):
        PasswordChanges(made.passwords, made.records, made.runtime, is_read_only=True).change(
            ana, login(OLD), NEW
        )
    assert not list(servers.store.list(keys.CHANGED_PASSWORDS))
    settings = Settings(server=ServerSettings(read_only=True))
    spool, runtime = Spool(tmp_path), fake_runtime(servers.clock, 3)
    assert build_index(Stores.of(servers.store), spool, settings, runtime).passwords is None


def test_of_two_changes_at_once_one_wins(servers: Servers) -> None:
    """If two people change a password from the same one at once, one is told to try again."""
    records = changes(servers.one).records
    line = line_digest("ana", SHA512)
    servers.change(OLD, NEW)
    (first,) = records.latest().values()

    with refused(Conflict, "conflict", match="by somebody else"):
        records.change(line, replace(first, hash=BCRYPT), "")
    records.change(line, replace(first, hash=BCRYPT), first.hash)

    assert [each.hash for each in records.known().values()] == [BCRYPT]
    assert first.hash not in repr(first)


def test_a_damaged_document_opens_nothing(servers: Servers) -> None:
    """While nobody can say which passwords were changed, none is right, and `check` says so."""
    servers.store.put(keys.CHANGED_PASSWORDS, b"{", None)

    with refused(Unavailable, "damaged_document"):
        servers.opens(OLD, servers.one)
    (problem,) = servers.other.check.run().problems
    assert problem.startswith(f"{keys.CHANGED_PASSWORDS} is damaged, so nobody can sign in with")
    servers.store.delete(keys.CHANGED_PASSWORDS)
    servers.clock.advance(seconds=BUCKET_SECONDS)
    assert servers.opens(OLD, servers.one)


def test_a_change_is_logged_without_a_password(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says who has changed a password, and neither it nor an error has one."""
    with caplog.at_level(logging.INFO, "wheelyard.audit"):
        servers.change(OLD, NEW)

    assert "password changed by htpasswd:ana: in a browser" in caplog.text
    document = b"".join(servers.store.read(keys.CHANGED_PASSWORDS))
    assert not any(secret in f"{caplog.text}{document!r}" for secret in (OLD, NEW))


def test_a_copy_keeps_the_latest_password(servers: Servers) -> None:
    """A copy has the changed passwords, and takes none back that was changed there later."""
    target = MemoryStore(servers.clock.seconds)
    there = servers.opened(5, target)

    def copy() -> int:
        copying = CredentialCopy(servers.store, target, there.catalog.rights)
        return sum(copying.copy(key) for key in copying.wanted())

    servers.change(OLD, NEW)
    assert (copy(), copy()) == (1, 0)
    servers.clock.advance(seconds=BUCKET_SECONDS)
    servers.change(NEW, NEWER, there)
    assert copy() == 0
    servers.clock.advance(seconds=BUCKET_SECONDS)
    assert [servers.opens(text, there) for text in (OLD, NEW, NEWER)] == [False, False, True]
    servers.change(NEW, "once more again")
    assert copy() == 1
    servers.clock.advance(seconds=BUCKET_SECONDS)
    assert servers.opens("once more again", there)


LINES = st.lists(
    st.sampled_from(
        [f"ana:{SHA}", f"bo : {APR1}:Bo X", "", "# ana:x", f"  ml-ci:{BCRYPT}\r", "\t"]
    ),
    unique=True,
)


@given(
    LINES,
    st.sampled_from(["ana", "bo ", "ml-ci", "eve"]),
    st.sampled_from(["", "\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
def test_other_lines_stay_as_they_are(lines: list[str], name: str, end: str, mark: str) -> None:
    """Whatever else is in a file stays byte for byte, and the new line is read with its hash."""
    text = mark + "\n".join(lines) + end
    before = parse_htpasswd(text).value.hashes

    after = with_line(text, name, SHA512)

    assert dict(parse_htpasswd(after).value.hashes) == {**before, name: SHA512}
    old, new = line_number(text, name), line_number(after, name)
    assert new is not None
    assert (old is None) == (name not in before)
    assert old in (None, new)
    if old is None:
        assert after.startswith(text)
    else:
        changed = (text.split("\n"), after.split("\n"))
        assert SHA512 in changed[1].pop(new - 1)
        changed[0].pop(new - 1)
        assert changed[0] == changed[1]


def test_a_wrong_line_is_not_written_over() -> None:
    """A file with a line that no server takes is refused, unless that line is replaced."""
    with refused(Invalid, "bad_setting", match="Line 1 has a hash"):
        with_line("bo:plain\n", "ana", SHA512)
    assert with_line("bo:plain\n", "bo", SHA512) == f"bo:{SHA512}\n"


@pytest.mark.parametrize(
    "name",
    [
        *("", "a" * 256, "a:b", "#ana", " ana", "ana ", "a\nb", "a\x7f", "\ud800", "\ufeffana"),
        *("__token__", "oauth2accesstoken", "wyd_ana", "_json_key_ana"),
    ],
)
def test_not_every_name_is_taken(name: str) -> None:
    """A name that no line can have, or that no client could send, is refused."""
    with refused(Invalid, "invalid_field", match="Choose another name"):
        require_user_name(name)


@given(st.text(min_size=1), st.text(min_size=8))
def test_what_is_taken_is_read_and_opens(name: str, password: str) -> None:
    """Whatever name and password are taken, the line is read, and has that name."""
    try:
        require_user_name(name)
        require_new_password(name, password)
    except Invalid:
        assume(condition=False)

    line = with_line("", name, SHA)

    assert dict(parse_htpasswd(line).value.hashes) == {name: SHA}
    assert parse_htpasswd(f"# first\n{line}").value.hashes[name] == SHA
