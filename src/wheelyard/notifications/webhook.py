"""The webhook that messages go to."""

from contextlib import closing
from importlib.metadata import version
from ipaddress import ip_network
from typing import Final

from msgspec.json import encode

from wheelyard.concurrency.runtime import Runtime
from wheelyard.http_client.client import Network, Requester, Retries
from wheelyard.http_client.hosts import Address, AddressPolicy, FetchError, PublicOr, is_public
from wheelyard.http_client.urls import parse_url
from wheelyard.settings.notification_section import NotificationSettings

SEND_SECONDS: Final = 30.0
"""The longest time of one attempt."""
ATTEMPTS: Final = 3


def _has_not_sent(fault: FetchError) -> bool:
    """Return whether a webhook cannot have had the message, and may be reached later."""
    return fault.is_transient and fault.is_unreachable


class Webhook:
    """
    Sends `{"text": ...}`, which Slack, Mattermost, Google Chat, Rocket.Chat and others take.

    A redirect is not followed. Plain HTTP goes to the private networks of the settings alone.
    """

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

    def send(self, text: str) -> None:
        """
        Send a message.

        Raises FetchError, whose words have no secret, if the webhook has not taken it.
        """
        self._retries.run(self._post, encode({"text": text}))

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
