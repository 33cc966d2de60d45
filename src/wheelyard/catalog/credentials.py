"""Token records in a store: created once, changed only to revoke them; and their last uses."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from wheelyard.catalog import keys
from wheelyard.catalog.documents import Age, Documents, Learnt, Snapshot
from wheelyard.catalog.last_uses import LastUses, Start, in_background
from wheelyard.catalog.races import Retries
from wheelyard.errors import Conflict, NotFound, Unavailable, quoted
from wheelyard.model.token import TokenRecord, is_token_id
from wheelyard.storage.base import Store, create


@dataclass(frozen=True, slots=True)
class Credentials:
    """The API tokens of an index, as records."""

    store: Store
    documents: Documents[TokenRecord]
    retries: Retries
    start: Start = in_background
    """Begins the writing of last uses."""
    last_uses: LastUses = field(init=False)

    def __post_init__(self) -> None:
        """Begin without having noted any use."""
        object.__setattr__(self, "last_uses", LastUses(self.store, self.start))

    def peek(self, token_id: str, max_age: Age = "fresh") -> Snapshot[TokenRecord] | None:
        """Return the record if it is at hand and not too old, else None; never waits."""
        return self.documents.peek(keys.token(token_id), max_age)

    def get(self, token_id: str) -> Snapshot[TokenRecord]:
        """Return the record, waiting for the store only if need be."""
        return self.documents.get(keys.token(token_id))

    def create(self, record: TokenRecord) -> None:
        """
        Store a new record.

        Raises:
            Conflict: There is a token with that id.
        """
        create(self.store, keys.token(record.id), self.documents.codec.encode(record))

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
        snapshot = self.documents.get(keys.token(token_id), "now") if known else None
        if snapshot is None or snapshot.value is None:
            raise NotFound(
                f"There is no token with the id {quoted(token_id)}. "
                "See 'wheelyard token list' for those there are.",
                short="No such token.",
            )
        return snapshot

    def all(self) -> Iterator[TokenRecord]:
        """
        Yield every record, in the order of ids; a damaged one opens nothing, and is left out.

        It takes a listing, and a read for each record that this process has not seen yet as it is.
        """
        for entry in self.store.list(keys.TOKENS):
            with suppress(Unavailable):
                held = self.documents.peek(entry.key, "ever")
                is_known = held is not None and held.version == entry.version
                snapshot = held if is_known else self.documents.get(entry.key, "now")
                if snapshot is not None and snapshot.value is not None:
                    yield snapshot.value
