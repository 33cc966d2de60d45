"""Lines of htpasswd files whose people had changed their password, which stay out of use."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from msgspec import Raw
from msgspec.structs import replace

from tests.advice import texts_of
from tests.authentication.verifiers.password_fixture import BlockingHasher
from tests.authentication.verifiers.test_password_hashes import APR1, BCRYPT, SHA512
from tests.fake_store import ALWAYS, Before, FakeStore, Fault, FaultKind, ProcessCrash
from tests.fake_time import START, Clock, fake_runtime
from tests.refused import refused
from wheelyard.authentication.api_tokens import TokenRequest
from wheelyard.authentication.verifiers.htpasswd import HtpasswdVerifier, line_digest
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.removed import CHANGED_PASSWORDS, ChangedPassword, ChangedPasswords
from wheelyard.errors import Unauthenticated, Unavailable
from wheelyard.model.access import Credential
from wheelyard.operations.copying.credential_copy import CredentialCopy
from wheelyard.settings.sections import AccessSettings, Settings
from wheelyard.storage.base import Key, Store, Stored, Stores
from wheelyard.storage.memory import MemoryStore
from wheelyard.storage.spool import Spool
from wheelyard.wiring.build import build_index
from wheelyard.wiring.index import Index
from wheelyard.wiring.stores import StoreTraits
from wheelyard.wiring.warnings import server_warnings

HERE = "192.0.2.1"
OLD, CHANGED = "s3cret", "correct horse"
"""What the line of Ana is for, and what she had changed that to."""
BUCKET_SECONDS = 15
FILE_SECONDS = 2


def document(*lines: tuple[str, str]) -> bytes:
    """Return the stored document about lines, each of a name and a hash."""
    by_line = {
        line_digest(name, hashed): ChangedPassword(name=name, hash=BCRYPT, changed_at=START)
        for name, hashed in lines
    }
    return Codec(ChangedPasswords).encode(ChangedPasswords(by_line=by_line, revision=3))


def login(password: str, name: str = "ana") -> Credential:
    """Return a name and a password from one network."""
    return Credential(name, password, client_network=HERE)


@dataclass
class Servers:
    """An index in a bucket with two servers, in which Ana had changed her password."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    hashing: BlockingHasher = field(default_factory=BlockingHasher)

    def __post_init__(self) -> None:
        self.store = MemoryStore(self.clock.seconds)
        self.store.put(CHANGED_PASSWORDS, document(("ana", SHA512)), None)
        self.file = self.folder / "htpasswd"
        self.file.write_text(f"ana:{SHA512}\nbo:{SHA512}\n")
        self.one, self.other = self.opened(1), self.opened(2)

    def opened(self, seed: int, store: Store | None = None, file: Path | None = None) -> Index:
        """Return one more server."""
        path = file or self.file
        access = AccessSettings(htpasswd_file=str(path), failed_login_per_minute=1000)
        settings, traits = Settings(access=access), StoreTraits(is_local=False)
        runtime = fake_runtime(self.clock, seed)
        stores = Stores.of(store or self.store)
        index = build_index(stores, Spool(self.folder), settings, runtime, traits)
        outdated = index.catalog.outdated_lines
        verifier = HtpasswdVerifier(path, bytes(32), self.clock.seconds, outdated, self.hashing)
        owners = replace(index.authenticator.owners, htpasswd=verifier)
        authenticator = replace(index.authenticator, htpasswd=verifier, owners=owners)
        index.sessions.authenticator = authenticator
        return replace(index, authenticator=authenticator)

    def opens(self, password: str, index: Index, name: str = "ana") -> bool:
        """Return whether a name and a password are right at a server."""
        try:
            index.authenticator.authenticate(login(password, name), HERE)
        except Unauthenticated:
            return False
        return True

    def write(self, *lines: str, file: Path | None = None) -> None:
        """Write the file, and let all servers notice."""
        (file or self.file).write_text("".join(f"{line}\n" for line in lines))
        self.clock.advance(seconds=FILE_SECONDS)

    def stored(self) -> ChangedPasswords:
        """Return the document in the store."""
        stored = self.store.get(CHANGED_PASSWORDS)
        assert isinstance(stored, Stored)
        return Codec(ChangedPasswords).decode(CHANGED_PASSWORDS, stored.body)

    def people(self) -> list[str]:
        """Return the people of whom the store has an outdated line."""
        return sorted(changed.name for changed in self.stored().by_line.values())

    def has_document(self) -> bool:
        """Return whether the store has the document."""
        return isinstance(self.store.get(CHANGED_PASSWORDS), Stored)


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """Two servers of one index."""
    return Servers(tmp_path)


def test_an_old_line_opens_nothing(servers: Servers) -> None:
    """An outdated line opens nothing, by either password; another line of the person does."""
    for index in (servers.one, servers.other):
        assert [servers.opens(text, index) for text in (OLD, CHANGED)] == [False, False]
        assert servers.opens(OLD, index, "bo")

    servers.write(f"ana:{BCRYPT}", f"bo:{SHA512}")
    assert [servers.opens(OLD, index) for index in (servers.one, servers.other)] == [True, True]
    servers.write(f"ana:{SHA512}:as it was before", f"bo:{SHA512}")
    assert [servers.opens(OLD, index) for index in (servers.one, servers.other)] == [False, False]
    assert not servers.opens(OLD, servers.opened(3))


def test_a_server_learns_of_a_line(servers: Servers) -> None:
    """An outdated line that another server writes to the store counts 15 seconds later."""
    assert servers.opens(OLD, servers.one, "bo")
    both = document(("ana", SHA512), ("bo", SHA512))
    servers.store.put(CHANGED_PASSWORDS, both, None)
    servers.clock.advance(seconds=BUCKET_SECONDS)

    assert not servers.opens(OLD, servers.one, "bo")


def test_sessions_end_and_tokens_stay(servers: Servers) -> None:
    """Sessions of an outdated line end; its person's tokens last until it is replaced."""
    owner = servers.one.authenticator.owners.named("htpasswd:bo")
    token, _ = servers.one.tokens.create(TokenRequest(name="laptop", owner=owner), "local:op")
    bearer = Credential("", token.text, is_bearer=True)
    before = login(OLD, "bo")
    caller = servers.one.authenticator.authenticate(before, HERE)
    session, _ = servers.one.sessions.begin(before, caller)
    assert servers.other.sessions.caller(session) == caller
    both = document(("ana", SHA512), ("bo", SHA512))
    servers.store.put(CHANGED_PASSWORDS, both, None)
    servers.clock.advance(seconds=BUCKET_SECONDS)

    assert servers.other.sessions.caller(session) is None
    token_caller = servers.other.authenticator.authenticate(bearer, HERE)
    assert token_caller.principal == f"token:{token.id}"
    servers.write(f"bo:{APR1}")
    with refused(Unauthenticated, "owner_ended"):
        servers.other.authenticator.authenticate(bearer, HERE)


def test_a_guess_costs_the_same_for_everybody(
    servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    """A guess costs one hash, whatever the name; the log alone says that a line is outdated."""
    costs = list[Sequence[str]]()
    with caplog.at_level(logging.INFO):
        for name in ("ana", "bo", "nobody"):
            servers.hashing.done.clear()
            assert not servers.opens("guess", servers.one, name)
            costs.append(tuple(servers.hashing.done))

    assert costs == [(SHA512,)] * 3
    assert "htpasswd_outdated for htpasswd:ana" in caplog.text
    assert "htpasswd_password for htpasswd:bo" in caplog.text


def test_people_are_named_to_the_operator(servers: Servers) -> None:
    """The warnings of a server name people who need another line, and nobody else."""
    warnings = texts_of(server_warnings(servers.one))
    (warning,) = [text for text in warnings if "in the browser" in text]
    assert "not possible any more: ana. Give each another line" in warning
    assert f"wheelyard password NAME --file {servers.file} --replace" in warning
    servers.write(f"ana:{APR1}", f"bo:{SHA512}")

    assert not any("in the browser" in text for text in texts_of(server_warnings(servers.one)))


def test_a_sweep_drops_lines_that_were_replaced(servers: Servers) -> None:
    """A sweep drops the line of a person who has another one, and the document with the last."""
    servers.store.put(CHANGED_PASSWORDS, document(("ana", SHA512), ("bo", SHA512)), None)
    assert servers.one.server.check.run(sweep=True).swept == 0
    servers.write()  # perhaps a file that is not mounted
    assert servers.one.server.check.run(sweep=True).swept == 0
    without = build_index(
        Stores.of(servers.store), Spool(servers.folder), Settings(), fake_runtime(servers.clock, 4)
    )
    assert without.server.check.run(sweep=True).swept == 0
    assert servers.people() == ["ana", "bo"]

    servers.write(f"ana:{BCRYPT}", f"bo:{SHA512}")
    replaced = f"{CHANGED_PASSWORDS} has lines that were replaced, of no use any more: ana"
    assert replaced in texts_of(servers.one.server.check.run().notes)
    assert servers.people() == ["ana", "bo"]
    assert servers.one.server.check.run(sweep=True).swept == 1
    assert servers.people() == ["bo"]
    assert servers.stored().revision == 4
    assert not servers.opens(OLD, servers.opened(5), "bo")

    servers.write(f"ana:{BCRYPT}", f"bo:{APR1}")
    assert servers.one.server.check.run(sweep=True).swept == 1
    assert not servers.has_document()
    assert servers.opens(OLD, servers.other)


def test_a_sweep_keeps_people_who_are_not_in_its_file(servers: Servers) -> None:
    """The line of a person without another one stays, as another server's file may have it."""
    servers.write(f"bo:{SHA512}")

    assert servers.one.server.check.run(sweep=True).swept == 0

    notes = texts_of(servers.one.server.check.run().notes)
    (note,) = [text for text in notes if CHANGED_PASSWORDS in text]
    assert note.endswith("as that of another server may have these lines: ana")
    file = servers.folder / "other"
    file.write_text(f"ana:{SHA512}\n")
    assert not servers.opens(OLD, servers.opened(3, file=file))


def test_a_sweep_keeps_all_lines_of_a_person_without_one_that_counts(servers: Servers) -> None:
    """While the new line of a person is outdated, too, a sweep keeps the earlier one."""
    servers.store.put(CHANGED_PASSWORDS, document(("ana", SHA512), ("ana", BCRYPT)), None)
    servers.write(f"ana:{BCRYPT}")
    assert servers.one.server.check.run(sweep=True).swept == 0
    servers.write(f"ana:{APR1}")
    assert servers.one.server.check.run(sweep=True).swept == 2


def test_a_sweep_keeps_what_a_copy_adds_meanwhile(servers: Servers) -> None:
    """A line that a copy brings while a sweep writes stays, and the sweep does its work."""
    both = document(("ana", SHA512), ("bo", SHA512))
    add = Before(lambda: servers.store.put(CHANGED_PASSWORDS, both, None), "put", CHANGED_PASSWORDS)
    servers.write(f"ana:{BCRYPT}", f"bo:{SHA512}")
    busy = servers.opened(3, FakeStore(servers.store, add))

    assert busy.server.check.run(sweep=True).swept == 1

    assert servers.people() == ["bo"]


@pytest.mark.parametrize("kind", [FaultKind.DONE, FaultKind.LOST_RACE, FaultKind.CRASH_AFTER])
def test_a_sweep_with_a_fault_is_completed(servers: Servers, kind: FaultKind) -> None:
    """A sweep whose write gets no answer, loses a race or is killed is completed by the next."""
    servers.store.put(CHANGED_PASSWORDS, document(("ana", SHA512), ("bo", SHA512)), None)
    servers.write(f"ana:{BCRYPT}", f"bo:{APR1}")
    faulty = FakeStore(servers.store, Fault(kind, "put", CHANGED_PASSWORDS))
    with suppress(ProcessCrash):
        assert servers.opened(3, faulty).server.check.run(sweep=True).swept == 2

    left = servers.one.server.check.run()

    is_killed = kind is FaultKind.CRASH_AFTER
    empty = f"{CHANGED_PASSWORDS} is empty, and of no use any more"
    assert (empty in texts_of(left.notes)) == is_killed
    assert servers.has_document() == is_killed
    assert servers.one.server.check.run(sweep=True).swept == is_killed
    assert not servers.has_document()


def test_a_sweep_without_an_answer_says_so(servers: Servers) -> None:
    """A store that takes no write ends the sweep with an error, and keeps the lines."""
    servers.write(f"ana:{BCRYPT}")
    silent = FakeStore(
        servers.store, Fault(FaultKind.NOT_DONE, "put", CHANGED_PASSWORDS, times=ALWAYS)
    )

    with pytest.raises(Unavailable):
        servers.opened(3, silent).server.check.run(sweep=True)

    assert servers.people() == ["ana"]


def test_a_sweep_keeps_what_a_newer_version_has_written(servers: Servers) -> None:
    """A sweep keeps what it does not know in the document, and does not touch such a line."""
    servers.write(f"ana:{BCRYPT}")
    known = document(("ana", SHA512))
    newer = known.replace(b'"revision"', b'"later":[1],"revision"')
    servers.store.put(CHANGED_PASSWORDS, newer, None)
    assert servers.one.server.check.run(sweep=True).swept == 1
    assert servers.stored().other_fields == (("later", Raw(b"[1]")),)

    newer = known.replace(b'"hash"', b'"later":1,"hash"')
    servers.store.put(CHANGED_PASSWORDS, newer, None)
    findings = servers.one.server.check.run(sweep=True)
    assert (findings.swept, findings.problems) == (0, [])
    assert any("was not swept" in note and "Upgrade" in note for note in texts_of(findings.notes))
    stored = servers.store.get(CHANGED_PASSWORDS)
    assert isinstance(stored, Stored)
    assert stored.body == newer


def test_a_sweep_gives_no_line_back_to_a_server_that_runs(servers: Servers) -> None:
    """A server whose own file has an old line keeps it out when another one has swept."""
    file = servers.folder / "other"
    file.write_text(f"ana:{SHA512}\n")
    third = servers.opened(3, file=file)
    assert not servers.opens(OLD, third)
    servers.write(f"ana:{BCRYPT}")

    assert servers.one.server.check.run(sweep=True).swept == 1

    servers.clock.advance(seconds=BUCKET_SECONDS)
    assert not servers.opens(OLD, third)
    servers.write(f"ana:{APR1}", file=file)
    assert servers.opens(OLD, third)


def test_a_damaged_document_opens_nothing(servers: Servers) -> None:
    """While the list of outdated lines is damaged, no line opens, and `check` says so."""
    servers.store.put(CHANGED_PASSWORDS, b"{", None)

    for name in ("ana", "bo"):
        with refused(Unavailable, "damaged_document"):
            servers.opens(OLD, servers.one, name)
    assert any("damaged" in text for text in texts_of(server_warnings(servers.one)))
    findings = servers.other.server.check.run(sweep=True)
    assert [problem.partition(",")[0] for problem in findings.problems] == [
        f"{CHANGED_PASSWORDS} is damaged"
    ]
    assert servers.has_document()


def test_a_copy_keeps_lines_outdated(servers: Servers) -> None:
    """A copy has the outdated lines of the source beside those of its own, and no password."""
    target = MemoryStore(servers.clock.seconds)
    there = servers.opened(5, target)

    def copy() -> int:
        copying = CredentialCopy(servers.store, target, there.catalog.credential_documents)
        return sum(copying.copy(Key(key)) for key in copying.keys_to_copy())

    assert (copy(), copy()) == (1, 0)
    assert not servers.opens(OLD, there)
    copied = target.get(CHANGED_PASSWORDS)
    assert isinstance(copied, Stored)
    assert BCRYPT.encode() not in copied.body
    target.put(CHANGED_PASSWORDS, document(("bo", SHA512)), None)
    assert (copy(), copy()) == (1, 0)
    fresh = servers.opened(6, target)
    assert [servers.opens(OLD, fresh, name) for name in ("ana", "bo")] == [False, False]
