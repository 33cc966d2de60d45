"""What a store keeps of webhooks beside their tables: secrets, and how far deliveries are."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import DocumentCache, UnreadableIgnored
from wheelyard.catalog.session_records import SessionRecords
from wheelyard.concurrency.runtime import ConflictRetries
from wheelyard.model.webhook_state import WebhookState
from wheelyard.storage.base import ABSENT, Store

if TYPE_CHECKING:
    from wheelyard.catalog.sealing import Sealer

_PURPOSE: Final = "secret of a webhook"


class WebhookStates(Struct, frozen=True):
    """
    Reads and changes how far the deliveries of webhooks are.

    Threads may share it. Every method raises Unavailable if the store does not answer, or a
    document is damaged.
    """

    store: Store
    documents: DocumentCache[WebhookState]
    retries: ConflictRetries

    def read_stored(self, name: str, created: datetime) -> WebhookState:
        """
        Return the state of a webhook as it is now, which is empty if the store has none.

        `created` is when it was added. The state of an earlier one of its name does not count.
        """
        state = self.documents.get(keys.webhook_state(name), "current").value
        return _state_of(state, created)

    def change(
        self, name: str, created: datetime, change: Callable[[WebhookState], WebhookState]
    ) -> WebhookState:
        """
        Write what `change` makes of the state of a webhook, unless that is the same, and return it.

        `created` is when it was added. For one whose name an earlier webhook had, `change` gets an
        empty state. It may be called again, with a newer state. Raises what `change` raises, and
        Unavailable (code `overloaded`) if too many writers change the state.
        """
        key = keys.webhook_state(name)
        for _ in self.retries.attempts():
            snapshot = self.documents.get(key, "current")
            before = _state_of(snapshot.value, created)
            after = change(before)
            if after == before:
                return before
            # another server may make the same change: by the id each knows its own write
            write_id = self.retries.runtime.new_id()
            after = replace(after, revision=before.revision + 1, write_id=write_id)

            def is_own(stored: WebhookState | None, own: str = write_id) -> bool:
                return stored is not None and stored.write_id == own

            if self.documents.swap(key, after, snapshot.version or ABSENT, is_own):
                return after
        raise self.retries.exhausted(key)

    def remove(self, name: str) -> None:
        """Delete the state of a webhook."""
        self.store.delete(keys.webhook_state(name))


def _state_of(state: WebhookState | None, created: datetime) -> WebhookState:
    """Return the state of a webhook, and not that of an earlier one of the same name."""
    if state is None:
        return WebhookState(created=created)
    if state.created != created:
        return WebhookState(created=created, revision=state.revision)
    return state


class SealedSecret(Struct, frozen=True):
    """The stored document with the sealed secret of a webhook."""

    sealed: str

    def __repr__(self) -> str:  # without the secret
        return "SealedSecret()"


class WebhookSecrets(Struct, frozen=True):
    """
    Keeps the secrets of webhooks, sealed by the key of sessions.

    So whoever reads a copy of the store, which has no such key, cannot sign anything. A secret is
    that of the webhook that was added at a time, and of no other one that has its name later.
    Threads may share it. Each method raises Unavailable if the store does not answer.
    """

    store: Store
    documents: DocumentCache[SealedSecret]
    sessions: SessionRecords

    def get(self, name: str, created: datetime) -> str | None:
        """Return the secret of a webhook, or None if there is none that this store can open."""
        key = self.sessions.key()
        if key is None:
            return None
        with UnreadableIgnored():
            secret = self.documents.get(keys.webhook_secret(name)).value
            if secret is not None:
                return self._sealer(key).open(secret.sealed, _context(name, created))
        return None

    def keep(self, name: str, created: datetime, secret: str) -> None:
        """
        Keep the secret of a webhook, in place of the one that it may have.

        The key of sessions is created if there is none. Raises Unavailable if that is damaged.
        """
        sealer = self._sealer(self.sessions.require_key())
        sealed = SealedSecret(sealer.seal(secret, _context(name, created)))
        # over any version: the table has the webhook already, and the last secret counts
        self.documents.put(keys.webhook_secret(name), sealed, None)

    def remove(self, name: str) -> None:
        """Delete the secret of a webhook, if there is one."""
        self.store.delete(keys.webhook_secret(name))

    def _sealer(self, key: bytes) -> "Sealer":
        # what encrypts takes a while to import, and few have webhooks
        from wheelyard.catalog.sealing import Sealer  # noqa: PLC0415

        return Sealer(key, _PURPOSE, self.sessions.runtime.random)


def _context(name: str, created: datetime) -> str:
    """Return the context in which a secret opens: that of one webhook, and of no later one."""
    return f"{name} {created.isoformat()}"
