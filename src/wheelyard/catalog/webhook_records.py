"""The secrets of webhooks, and the states of their deliveries, which are not in their tables."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
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
    Reads and changes the states of webhooks, which say how far their deliveries are.

    Threads may share an object. Every method raises Unavailable if the store does not answer, or a
    document is damaged.
    """

    store: Store
    documents: DocumentCache[WebhookState]
    retries: ConflictRetries

    def read_stored(self, name: str, created: datetime) -> WebhookState:
        """
        Return the state of a webhook as it is now, which is empty if the store has none.

        `created` is when the webhook was added. The state of an earlier webhook of the same name is
        ignored.
        """
        state = self.documents.get(keys.webhook_state(name), "current").value
        return _state_of(state, created)

    def change(
        self, name: str, created: datetime, change: Callable[[WebhookState], WebhookState]
    ) -> WebhookState:
        """
        Write the state that `change` returns, unless it is the same as before, and return it.

        `created` is when the webhook was added. The state of an earlier webhook of the same name is
        ignored: then `change` gets an empty state. It may be called again, with a newer state.
        Raises the error of `change`, and Unavailable (code `overloaded`) if too many writers change
        the state.
        """
        key = keys.webhook_state(name)
        for _ in self.retries.attempts():
            snapshot = self.documents.get(key, "current")
            before = _state_of(snapshot.value, created)
            after = change(before)
            if after == before:
                return before
            # another server may make the same change, so each write has an id
            write_id = self.retries.runtime.new_id()
            after = replace(after, revision=before.revision + 1, write_id=write_id)
            was_written = partial(_is_of_write, write_id)
            if self.documents.swap(key, after, snapshot.version or ABSENT, was_written):
                return after
        raise self.retries.exhausted(key)

    def remove(self, name: str) -> None:
        """Delete the state of a webhook."""
        self.store.delete(keys.webhook_state(name))


def _is_of_write(write_id: str, state: WebhookState | None) -> bool:
    """Return whether a state was written by the write with this id."""
    return state is not None and state.write_id == write_id


def _state_of(state: WebhookState | None, created: datetime) -> WebhookState:
    """Return a stored state, or an empty one if it is of an earlier webhook of the same name."""
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

    A copy of the store does not have this key, so nobody can sign messages with a secret of a copy.
    A secret belongs to one webhook, and not to a later one of the same name. Threads may share an
    object. Each method raises Unavailable if the store does not answer.
    """

    store: Store
    documents: DocumentCache[SealedSecret]
    sessions: SessionRecords

    def get(self, name: str, created: datetime) -> str | None:
        """Return the secret of a webhook, or None if there is none, or it cannot be opened."""
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
        Store the secret of a webhook, in place of an older one.

        The key of sessions is created if there is none. Raises Unavailable if the key is damaged.
        """
        sealer = self._sealer(self.sessions.require_key())
        sealed = SealedSecret(sealer.seal(secret, _context(name, created)))
        # over any version, as the last secret counts
        self.documents.put(keys.webhook_secret(name), sealed, None)

    def remove(self, name: str) -> None:
        """Delete the secret of a webhook, if there is one."""
        self.store.delete(keys.webhook_secret(name))

    def _sealer(self, key: bytes) -> "Sealer":
        """Return the sealer with this key of sessions."""
        # imported here, as encryption takes a while to import, and few stores have webhooks
        from wheelyard.catalog.sealing import Sealer  # noqa: PLC0415

        return Sealer(key, _PURPOSE, self.sessions.runtime.random)


def _context(name: str, created: datetime) -> str:
    """Return the context of a secret: it cannot be opened for a later webhook of the same name."""
    return f"{name} {created.isoformat()}"
