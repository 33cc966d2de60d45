"""Token records in a store: created once, changed only to revoke them."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from wheelyard.catalog import keys
from wheelyard.catalog.documents import Documents, Learnt, Snapshot
from wheelyard.catalog.races import Retries
from wheelyard.errors import Conflict, NotFound, Unavailable, quoted
from wheelyard.model.token import TokenRecord, is_token_id
from wheelyard.storage.base import ABSENT, Store, Stored


@dataclass(frozen=True, slots=True)
class Credentials:
    """The API tokens of an index, as records."""

    store: Store
    documents: Documents[TokenRecord]
    retries: Retries

    def fresh(self, token_id: str) -> Snapshot[TokenRecord] | None:
        """Return the record if that needs no waiting, else None."""
        return self.documents.fresh(keys.token(token_id))

    def excused(self, token_id: str) -> Snapshot[TokenRecord] | None:
        """Return the record if it is not too old for a store that does not answer, else None."""
        return self.documents.excused(keys.token(token_id))

    def current(self, token_id: str) -> Snapshot[TokenRecord]:
        """Return the record, waiting for the store only if need be."""
        return self.documents.current(keys.token(token_id))

    def create(self, record: TokenRecord) -> None:
        """
        Store a new record.

        Raises:
            Conflict: There is a token with that id.
        """
        self.store.put(keys.token(record.id), self.documents.codec.encode(record), ABSENT)

    def replace(self, record: TokenRecord, snapshot: Snapshot[TokenRecord]) -> bool:
        """Store a changed record; return False if someone else changed it since `snapshot`."""
        key = keys.token(record.id)
        body, since = self.documents.codec.encode(record), self.documents.moment()
        try:
            version = self.store.put(key, body, snapshot.version)
        except Conflict:
            return False
        learnt = Learnt(version, len(body), over=snapshot.version, since=since)
        self.documents.learn(key, record, learnt)
        return True

    def latest(self, token_id: str) -> Snapshot[TokenRecord]:
        """
        Return the record as the store has it now.

        Raises:
            NotFound: There is no such token.
        """
        known = is_token_id(token_id)
        snapshot = self.documents.reload(keys.token(token_id)) if known else None
        if snapshot is None or snapshot.value is None:
            raise NotFound(
                f"There is no token with the id {quoted(token_id)}. "
                "See 'wheelyard token list' for those there are.",
                short="No such token.",
            )
        return snapshot

    def all(self) -> Iterator[TokenRecord]:
        """Yield every record, in the order of ids; a damaged one opens nothing, and is left out."""
        for entry in self.store.list(keys.TOKENS):
            with suppress(Unavailable):
                found = self.store.get(entry.key)
                if isinstance(found, Stored):
                    yield self.documents.codec.decode(entry.key, found.body)
