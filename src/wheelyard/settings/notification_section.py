"""Section `[notifications]`: messages that public packages wait for a decision."""

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from wheelyard.http_client.urls import is_url
from wheelyard.settings import value_checks as kinds

_MAIL: Final = r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,255}"

MailAddress = Annotated[
    str, Meta(pattern=rf"\A{_MAIL}\Z", description="an address such as platform@acme.dev")
]


class NotificationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Section `[notifications]`: who is told that [public packages are asked for](upstream-policy.md).

    Without `webhook` and `mail_to` nobody is.
    """

    webhook: str = ""
    """URL of an incoming webhook, such as of Slack; from the environment only: it is a secret."""
    allow_private_networks: tuple[kinds.Network, ...] = ()
    """Private addresses that the webhook may have, such as `10.0.0.0/8`; also over plain HTTP."""
    mail_to: tuple[MailAddress, ...] = ()
    """Mail addresses that get a message."""
    mail_from: str = ""
    """The sender of the mail, such as `wheelyard@acme.dev`."""
    smtp_host: str = ""
    """The mail server, such as `smtp.acme.dev` or `smtp.acme.dev:2525`; it may be private."""
    smtp_security: Literal["starttls", "none", "tls"] = "starttls"
    """How mail is encrypted: after STARTTLS (port 587), not (25), or from the start (465)."""
    smtp_username: str = ""
    """The user name for the mail server, if it needs one."""
    smtp_password: str = ""
    """Its password; from the environment only."""

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return f"NotificationSettings(is_on={self.is_on})"

    @property
    def is_on(self) -> bool:
        """Whether anybody is told."""
        return bool(self.webhook or self.mail_to)

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
        if bool(self.mail_to) != bool(self.smtp_host) or bool(self.mail_to) != bool(self.mail_from):
            yield "notifications: mail needs mail_to, mail_from and smtp_host. Set all of them"
        if self.mail_from and not re.fullmatch(_MAIL, self.mail_from):
            yield "notifications.mail_from: it is no address such as wheelyard@acme.dev"
        if self.smtp_host and not re.fullmatch(r"[A-Za-z0-9.-]+(?::[0-9]{1,5})?", self.smtp_host):
            yield "notifications.smtp_host: it is no host such as smtp.acme.dev:587"
        if bool(self.smtp_username) != bool(self.smtp_password):
            yield (
                "notifications: smtp_username and WHEELYARD_NOTIFICATIONS_SMTP_PASSWORD need each "
                "other. Set both, or none"
            )
        if self.smtp_password and self.smtp_security == "none":
            yield 'notifications: smtp_security = "none" shows the password to others. Use starttls'
