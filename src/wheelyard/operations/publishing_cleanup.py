"""The removal of used ID tokens and of the API tokens that were made for them."""

from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.catalog.session_records import CLOCK_SKEW
from wheelyard.catalog.stored_tokens import TokenRecords
from wheelyard.catalog.used_id_tokens import UsedIdTokens
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.api_token import is_token_id

RETENTION: Final = timedelta(hours=1)
"""How long the record of a minted API token stays after it expires."""


class PublishingCleanup(Struct, frozen=True):
    """Removes the records of used ID tokens, and of the expired API tokens minted for them."""

    used_id_tokens: UsedIdTokens
    token_records: TokenRecords
    runtime: Runtime
    token_lifetime: timedelta

    def run(self, at_most: int | None = None) -> int:
        """
        Remove used ID tokens with their API tokens, once both expired an hour ago or earlier.

        At most `at_most` ID tokens are looked at, or all for None. Return how many ID tokens were
        removed. Raises Unavailable if the store does not answer.
        """
        now = self.runtime.now()
        removed = 0
        # a server whose clock is behind still accepts an expired ID token for a while: without the
        # record, it would exchange the token again
        limit = now - self.token_lifetime - RETENTION - CLOCK_SKEW
        expired = self.used_id_tokens.expired_before(limit)
        # all keys before the first deletion, which would change the listing
        for key in list(islice(expired, at_most)):
            token_id = self.used_id_tokens.token_of(key)
            # the API token first: if the process dies in between, the next run finds the API token
            # by the ID token
            if token_id is None or self._remove_token(token_id, now - RETENTION):
                self.used_id_tokens.store.delete(key)
                removed += 1
        return removed

    def _remove_token(self, token_id: str, limit: datetime) -> bool:
        """
        Remove the record of a minted API token that expired by `limit`.

        Return False if the token expires later, so that the record of its ID token has to stay.
        Return True otherwise, even if there was nothing to remove.
        """
        if not is_token_id(token_id):
            return True
        # nobody can use a token with a damaged record, so the record of its ID token may go
        with UnreadableIgnored():
            snapshot = self.token_records.documents.get(keys.token(token_id), "current")
            record = snapshot.value
            # A token without a publisher was made by a person: only that person, or an
            # administrator, removes it.
            if record is None or not record.publishers:
                return True
            if record.expires_at > limit:
                return False
            self.token_records.store.delete(keys.token(token_id))
        return True
