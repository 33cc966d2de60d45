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

        At most `at_most` are checked, or all for None. Return how many ID tokens were removed.
        Raises Unavailable if the store does not answer.
        """
        now = self.runtime.now()
        removed = 0
        # not while a server whose clock is behind accepts the ID token, and would exchange it again
        limit = now - self.token_lifetime - RETENTION - CLOCK_SKEW
        expired = self.used_id_tokens.expired_before(limit)
        # listed to the end first, as the records are deleted under the listing
        for key in list(islice(expired, at_most)):
            token_id = self.used_id_tokens.token_of(key)
            # the API token goes first: whoever dies in between finds it again by the ID token
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
        # a damaged record is no credential, so nobody can use what it was about
        with UnreadableIgnored():
            snapshot = self.token_records.documents.get(keys.token(token_id), "current")
            record = snapshot.value
            # without a publisher, a person has made it: only they, or an administrator, remove it
            if record is None or not record.publishers:
                return True
            if record.expires_at > limit:
                return False
            self.token_records.store.delete(keys.token(token_id))
        return True
