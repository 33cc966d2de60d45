"""Verification of the stored facts about sessions of browsers."""

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import Codec
from wheelyard.catalog.session_records import SessionKey
from wheelyard.errors import WheelyardError
from wheelyard.operations.findings import Findings, read_or_report
from wheelyard.storage.base import Store, Stored


def check_sessions(store: Store, findings: Findings) -> None:
    """Report a damaged key of sessions, and each object beside it that is no session's."""
    for entry in store.list(keys.SESSIONS):
        if entry.key == keys.SESSION_KEY:
            found = read_or_report(store, entry.key, findings)
            try:
                if isinstance(found, Stored):
                    Codec(SessionKey).decode(entry.key, found.body)
            except WheelyardError:
                findings.problems.append(
                    f"{entry.key} is damaged, so nobody can sign in in a browser; remove it, and "
                    "the next sign-in makes another"
                )
        elif keys.expiry_hour(entry.key) is None:
            findings.add_foreign_object(entry.key)
