"""Sends messages to webhooks."""

from wheelyard.errors import Unavailable
from wheelyard.model.stored_webhooks import Webhook
from wheelyard.model.webhook_state import Attempt


class WebhookSender:
    """Sends messages to webhooks. Threads may share it."""

    def test(self, webhook: Webhook, by: str) -> Attempt:
        """
        Send a message that is about nothing, and return what came of it.

        `by` is the principal of who wants it. Raises Unavailable if nothing can be sent.
        """
        del by
        raise Unavailable(f"Nothing can be sent to the webhook {webhook.name} now.")
