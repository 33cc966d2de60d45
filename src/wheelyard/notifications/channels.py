"""Where messages go: a webhook, and mail."""

import smtplib
import ssl
from contextlib import closing, suppress
from email.message import EmailMessage
from email.utils import format_datetime
from importlib.metadata import version
from ipaddress import ip_network
from typing import Final, Protocol

from msgspec.json import encode

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.client import Network, Requester, Retries
from wheelyard.http_client.hosts import Address, AddressPolicy, FetchError, PublicOr, is_public
from wheelyard.http_client.urls import parse_url
from wheelyard.notifications.digest import Digest
from wheelyard.settings.notification_section import NotificationSettings

SEND_SECONDS: Final = 30.0
"""The longest time of one attempt, and of one step with a mail server."""
ATTEMPTS: Final = 3
PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}


class NotSentError(Exception):
    """A channel has not taken a message. `why` has no secret."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Channel(Protocol):
    """Sends messages to one place."""

    name: str

    def send(self, digest: Digest) -> None:
        """
        Send a message.

        Raises NotSentError if the place has not taken it.
        """


def _has_not_sent(fault: FetchError) -> bool:
    """Return whether a webhook cannot have had the message, and may be reached later."""
    return fault.is_transient and fault.is_unreachable


class Webhook:
    """
    Sends `{"text": ...}`, which Slack, Mattermost, Google Chat, Rocket.Chat and others take.

    A redirect is not followed. Plain HTTP goes to the private networks of the settings alone.
    """

    name = "webhook"

    def __init__(self, settings: NotificationSettings, runtime: Runtime) -> None:
        networks = PublicOr(tuple(map(ip_network, settings.allow_private_networks)))

        def is_named(address: Address) -> bool:
            return networks(address) and not is_public(address)

        refusal = (
            "its host {host} has a private address. Name it in "
            "notifications.allow_private_networks, if that is meant"
        )
        policies = {
            "https": AddressPolicy(is_allowed=networks, refusal=refusal),
            "http": AddressPolicy(is_allowed=is_named, refusal=refusal),
        }
        network = Network(policies=policies, start=SEND_SECONDS, idle=SEND_SECONDS)
        self._url = parse_url(settings.webhook)
        self._requester = Requester(runtime, network)
        self._retries = Retries(runtime, ATTEMPTS, _has_not_sent)

    def send(self, digest: Digest) -> None:
        """Send a message, as `Channel.send`."""
        try:
            self._retries.run(self._post, encode({"text": digest.for_chat}))
        except FetchError as fault:
            raise NotSentError(fault.why) from fault

    def _post(self, body: bytes) -> None:
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": f"wheelyard/{version('wheelyard')}",
        }
        with (
            self._requester.deadline(SEND_SECONDS),
            closing(self._requester.send("POST", self._url, headers, body)) as response,
        ):
            if not 200 <= response.status < 300:  # noqa: PLR2004 - of HTTP
                raise self._requester.status_error(response)


class Mail:
    """Sends mail by a mail server (SMTP), whose certificate is verified."""

    name = "mail"

    def __init__(self, settings: NotificationSettings, runtime: Runtime) -> None:
        self._settings = settings
        self._runtime = runtime

    def send(self, digest: Digest) -> None:
        """Send a message to all addresses, as `Channel.send`."""
        try:
            server = self._connected()
            try:
                # whom the server refuses gets none: only if it refuses all is that an error
                server.send_message(self._message(digest))
            finally:
                with suppress(smtplib.SMTPException, OSError):  # it has the message, or has not
                    server.quit()
        except smtplib.SMTPRecipientsRefused as error:
            raise NotSentError("the mail server refuses each address of mail_to") from error
        except smtplib.SMTPResponseException as error:
            raise NotSentError(f"the mail server answers {error.smtp_code}") from error
        except (smtplib.SMTPException, OSError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise NotSentError(f"the mail server: {why}") from error

    def _connected(self) -> smtplib.SMTP:
        settings = self._settings
        host, _, port = settings.smtp_host.partition(":")
        number = int(port) if port else PORTS[settings.smtp_security]
        own_name = settings.mail_from.rpartition("@")[2]
        if settings.smtp_security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, number, own_name, timeout=SEND_SECONDS, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, number, own_name, timeout=SEND_SECONDS)
        try:
            if settings.smtp_security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if settings.smtp_username:
                server.login(settings.smtp_username, settings.smtp_password)
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, digest: Digest) -> EmailMessage:
        message, sender = EmailMessage(), self._settings.mail_from
        message["Subject"] = digest.subject
        message["From"] = sender
        message["To"] = ", ".join(self._settings.mail_to)
        message["Date"] = format_datetime(self._runtime.now())
        message["Message-ID"] = f"<{self._runtime.new_id()}@{sender.rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(digest.text)
        return message
