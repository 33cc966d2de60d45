"""A sender of webhooks that sends nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime

from wheelyard.errors import Unavailable
from wheelyard.model.stored_webhooks import Webhook
from wheelyard.model.webhook_state import DeliveryAttempt


@dataclass(frozen=True)
class FakeSender:
    """Sends nothing, and says what came of it."""

    error: str = ""
    """Why nothing arrives, or empty if the receiver takes it."""
    is_broken: bool = False
    """Whether nothing can be sent at all."""

    def test(self, webhook: Webhook, by: str) -> DeliveryAttempt:
        """Return a delivery with the name of the webhook and of who sends it as its id."""
        if self.is_broken:
            raise Unavailable(f"Nothing can be sent to {webhook.name} for {by} now.")
        return DeliveryAttempt(
            id=f"{webhook.name} {by}",
            event="test",
            subject="",
            at=datetime(2030, 1, 2, tzinfo=UTC),
            status=204,
            error=self.error,
        )
