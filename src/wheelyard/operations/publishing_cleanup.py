"""
Removal of records that trusted publishing leaves: of used ID tokens, and of expired API tokens.

Both have to be kept for a while after they expire. After that, each exchange of an ID token removes
a few, and `wheelyard check --sweep` removes all, even if nothing is published that way any more.
"""

from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from msgspec import Struct

from wheelyard.catalog import keys
from wheelyard.catalog.document_cache import UnreadableIgnored
from wheelyard.catalog.token_records import TokenRecords, UsedIdTokens
from wheelyard.concurrency.runtime import Runtime
from wheelyard.model.token import is_token_id

RETENTION: Final = timedelta(hours=1)
"""How long the record of a minted API token stays after it expires."""
CLOCK_SKEW: Final = timedelta(minutes=2)
"""
The largest difference between clocks. If the record of a used ID token were removed while another
server still accepts the ID token, it could be used twice.
"""


class PublishingCleanup(Struct, frozen=True):
    """Removes the records of used ID tokens, and of the expired API tokens minted for them."""

    used_id_tokens: UsedIdTokens
    token_records: TokenRecords
    runtime: Runtime
    token_lifetime: timedelta

    def run(self, at_most: int | None = None) -> int:
        """
        Remove used ID tokens with their API tokens, once both expired an hour ago or earlier.

        Return how many ID tokens were removed. At most `at_most` are checked; None for all. Raise
        Unavailable if the store does not answer.
        """
        now = self.runtime.now()
        removed = 0
        expired = self.used_id_tokens.expired_before(
            now - self.token_lifetime - RETENTION - CLOCK_SKEW
        )
        for key in list(islice(expired, at_most)):
            token_id = self.used_id_tokens.token_of(key)
            if token_id is None or self._remove_token(token_id, now - RETENTION):
                self.used_id_tokens.store.delete(key)
                removed += 1
        return removed

    def _remove_token(self, token_id: str, limit: datetime) -> bool:
        """
        Remove the record of a minted API token that expired by `limit`.

        Return False if the token expires later, so that the record of its ID token has to stay;
        else True, even if there was nothing to remove.
        """
        if not is_token_id(token_id):
            return True
        with UnreadableIgnored():  # else it is no credential any more
            snapshot = self.token_records.documents.get(keys.token(token_id), "current")
            record = snapshot.value
            if record is None or not record.publishers:
                return True
            if record.expires_at > limit:
                return False
            self.token_records.store.delete(keys.token(token_id))
        return True
