"""Verification of tokens, the days of their last use, and sessions; removal of what has expired."""

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.session_records import SessionKey, SessionRecords
from wheelyard.errors import WheelyardError
from wheelyard.model.text import counted
from wheelyard.model.token import TokenRecord, is_token_id
from wheelyard.operations.findings import Findings, read_or_report
from wheelyard.operations.publishing_cleanup import PublishingCleanup
from wheelyard.storage.base import Entry, Key, Store, Stored


class CredentialsCheck(Struct, frozen=True):
    """Checks what is below `credentials/`, but for the grants and groups."""

    store: Store
    publishing_cleanup: PublishingCleanup
    sessions: SessionRecords

    def run(self, findings: Findings, *, sweep: bool) -> None:
        """Add what is wrong to `findings`; with `sweep`, delete leftovers and expired records."""
        self._check_tokens(findings, sweep=sweep)
        self._check_sessions(findings)
        if sweep:
            findings.swept += self.publishing_cleanup.run() + self.sessions.remove_expired()

    def _check_tokens(self, findings: Findings, *, sweep: bool) -> None:
        uses = self._token_uses(findings)  # listed first, so that no new token can have one
        for entry in self.store.list(keys.TOKENS):
            token_id = entry.key.removeprefix(keys.TOKENS).removesuffix(".json")
            if not is_token_id(token_id) or entry.key != keys.token(token_id):
                findings.add_foreign_object(entry.key)
                continue
            uses.pop(token_id, None)
            consequence = "its token opens nothing; remove it, and make another token"
            self._check_record(entry.key, TokenRecord, consequence, findings)
        if uses and sweep:
            for entry in uses.values():
                self.store.delete(entry.key)
            findings.swept += len(uses)
        elif uses:
            objects = counted(len(uses), "object")
            findings.notes.append(f"{objects} under {keys.LAST_USES} belong to no token")

    def _token_uses(self, findings: Findings) -> dict[str, Entry]:
        uses = dict[str, Entry]()
        for entry in self.store.list(keys.LAST_USES):
            token_id = keys.token_id_of_use(entry.key)
            if token_id is None:
                findings.add_foreign_object(entry.key)
            else:
                uses[token_id] = entry
        return uses

    def _check_sessions(self, findings: Findings) -> None:
        for entry in self.store.list(keys.SESSIONS):
            if entry.key == keys.SESSION_KEY:
                consequence = (
                    "nobody can sign in in a browser; remove it, and the next sign-in makes another"
                )
                self._check_record(entry.key, SessionKey, consequence, findings)
            elif keys.expiry_hour(entry.key) is None:
                findings.add_foreign_object(entry.key)

    def _check_record(
        self,
        key: Key,
        kind: type[TokenRecord | SessionKey],
        consequence: str,
        findings: Findings,
    ) -> None:
        found = read_or_report(self.store, key, findings)
        try:
            if isinstance(found, Stored):
                Codec(kind).decode(key, found.body)
        except WheelyardError:
            findings.problems.append(f"{key} is damaged, so {consequence}")
