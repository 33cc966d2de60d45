"""Section `[notifications]`: messages that public packages wait for a decision."""

from collections.abc import Iterator

from msgspec import Struct

from wheelyard.http_client.urls import is_url
from wheelyard.settings import value_checks as kinds


class NotificationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Section `[notifications]`: who is told that [public packages are asked for](upstream-policy.md).

    Without `webhook` nobody is.
    """

    webhook: str = ""
    """URL of an incoming webhook, such as of Slack; from the environment only: it is a secret."""
    allow_private_networks: tuple[kinds.Network, ...] = ()
    """Private addresses that the webhook may have, such as `10.0.0.0/8`; also over plain HTTP."""

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return f"NotificationSettings(webhook={bool(self.webhook)})"

    @property
    def problems(self) -> Iterator[str]:
        """What contradicts itself, without any secret."""
        if self.webhook and not is_url(self.webhook):
            yield "notifications.webhook: it is no URL such as https://a.example/x"
        if self.webhook.lower().startswith("http://") and not self.allow_private_networks:
            yield (
                "notifications.webhook: the URL is a secret, and http:// lets others read it. Use "
                "https://, or name its network in allow_private_networks"
            )
