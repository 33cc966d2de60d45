"""Signs a message, sends it once to one webhook, and returns the result of the try."""

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from importlib.metadata import version
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct
from msgspec.json import encode

from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.http_client.client import ClientResponse, Network, Requester
from wheelyard.http_client.hosts import Address, AddressPolicy, FetchError, PublicOr, is_link_local
from wheelyard.http_client.urls import BadUrl, parse_url
from wheelyard.model.decoding import escaped, redact_tokens
from wheelyard.model.stored_webhooks import Webhook, WebhookFormat
from wheelyard.model.webhook_messages import (
    AnyMessage,
    DescribePrincipal,
    MessageUrls,
    Outgoing,
    TrialMessage,
    text_of,
)
from wheelyard.model.webhook_state import DeliveryAttempt, MessagePlace
from wheelyard.operations.webhook_endpoints import SECRET_PREFIX, WebhookEndpoint, WebhookEndpoints

TRY_SECONDS: Final = 10.0
"""The longest time of one try, from the name lookup to the end of the answer."""
ANSWER_BYTES: Final = 2_000
"""How many bytes of an answer are read."""
ANSWER_CHARS: Final = 200
"""How many characters of an answer are kept."""
SECRET_CHARS: Final = 6
"""The length from which a part of a URL may be a secret."""
TEST: Final = "test"
"""The event of a message that tries a webhook, and the journal in its place."""
_SECRET_TEXT: Final = re.compile(rf"{SECRET_PREFIX}[A-Za-z0-9+/=]+")
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class SendResult(Struct, frozen=True):
    """The result of a try to send a message."""

    attempt: DeliveryAttempt
    wait: timedelta = timedelta()
    """How long the receiver asks to wait, by Retry-After. Five minutes at most."""


class WebhookSender:
    """
    Sends messages to webhooks.

    Threads may share it. A redirect is not followed. The address of a host is checked when the
    connection is made, so no change of DNS after the check can lead elsewhere.

    Args:
        endpoints: Finds the URL and the secret of a webhook.
        networks: Private networks that a webhook with `allow_private` may be in.
        urls: Makes the URLs in messages.
        runtime: Clocks and randomness.
        describe: Returns a principal in words, for messages to chats.
    """

    def __init__(
        self,
        endpoints: WebhookEndpoints,
        networks: Sequence[str],
        urls: MessageUrls,
        runtime: Runtime,
        describe: DescribePrincipal,
    ) -> None:
        self._endpoints = endpoints
        self._urls = urls
        self._runtime = runtime
        self.describe = describe
        private_networks = tuple(ip_network(network) for network in networks)
        # two clients, as the same host may be allowed to one webhook, and not to another
        self._public_requester = Requester(runtime, _allowed_network(()))
        self._private_requester = Requester(runtime, _allowed_network(private_networks))

    def send(
        self, webhook: Webhook, outgoing: Outgoing, may_send: Callable[[], bool]
    ) -> SendResult | None:
        """
        Send a message once, and return the result of the try, which may be a failure.

        Returns None, without a try, if `may_send` returns False. This is called when the time limit
        runs already, so a process that stands still after the call sends nothing.
        """
        began = self._runtime.monotonic()
        status = 0
        answer = ""
        error = ""
        wait = timedelta()

        # a failure of the receiver is a result: only faults of this program are raised
        try:
            endpoint = self._endpoints.find(webhook)
            requester = self._public_requester
            if webhook.allow_private:
                requester = self._private_requester
            with requester.deadline(TRY_SECONDS):
                if not may_send():
                    return None
                with closing(self._post(requester, webhook, endpoint, outgoing)) as response:
                    status = response.status
                    answer = _beginning_of(response, endpoint)
                    if not 200 <= status < 300:  # noqa: PLR2004 - of HTTP
                        fault = requester.status_error(response)
                        error = fault.why
                        wait = timedelta(seconds=fault.wait)
        except Invalid as invalid:  # this server does not know the URL or the secret
            error = invalid.message
        except BadUrl:
            error = "its URL cannot be used"
        except FetchError as fault:
            error = fault.why
        attempt = DeliveryAttempt(
            id=outgoing.id,
            event=outgoing.event,
            subject=outgoing.subject,
            at=self._runtime.now(),
            seconds=round(self._runtime.monotonic() - began, 3),
            status=status,
            error=error,
            answer=answer,
        )
        return SendResult(attempt, wait)

    def test(self, webhook: Webhook, by: str) -> DeliveryAttempt:
        """
        Send a message that tries the webhook, and return the attempt, which may have failed.

        `by` is the principal of the person who tries the webhook.
        """
        now = self._runtime.now()
        message = TrialMessage(
            type="webhook.test", time=now, by=by, webhook=webhook.name, url=f"{self._urls.base}/"
        )
        outgoing = Outgoing(
            id=f"msg_test_{self._runtime.new_id()}",
            place=MessagePlace(TEST, 0),
            event=TEST,
            subject="a test",
            message=message,
        )
        result = self.send(webhook, outgoing, lambda: True)
        assert result is not None  # noqa: S101 - it may be sent
        return result.attempt

    def close(self) -> None:
        """Close all connections."""
        self._public_requester.close()
        self._private_requester.close()

    def _post(
        self, requester: Requester, webhook: Webhook, endpoint: WebhookEndpoint, outgoing: Outgoing
    ) -> ClientResponse:
        """Post a message to an endpoint, signed if the endpoint has a key."""
        body = self._encode(webhook, outgoing.message)
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": f"wheelyard/{version('wheelyard')}",
        }
        if endpoint.key is not None:
            # the time of this try: a receiver refuses an older one, so nobody can replay a message
            timestamp = str(int(self._runtime.seconds()))
            headers["webhook-id"] = outgoing.id
            headers["webhook-timestamp"] = timestamp
            headers["webhook-signature"] = signature(endpoint.key, outgoing.id, timestamp, body)
        return requester.send("POST", parse_url(endpoint.url), headers, body)

    def _encode(self, webhook: Webhook, message: AnyMessage) -> bytes:
        """Return the body of a message in the format of the webhook."""
        if webhook.format is WebhookFormat.SLACK:
            return encode({"text": text_of(message, self.describe)})
        return encode(message)


def signature(key: bytes, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message (Standard Webhooks, symmetric, version 1)."""
    signed_bytes = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.digest(key, signed_bytes, "sha256")
    return f"v1,{b64encode(digest).decode()}"


def _allowed_network(private_networks: tuple[IPv4Network | IPv6Network, ...]) -> Network:
    """
    Return the addresses that may be connected to.

    By https these are public ones and those in the given private networks, by http those of this
    machine.
    """
    is_public_or_private = PublicOr(private_networks)
    is_on_this_machine = PublicOr(_LOOPBACK, only_loopback=True)

    def is_allowed(address: Address) -> bool:
        return is_public_or_private(address) and not is_link_local(address)

    refusal = (
        "its host {host} has an address that is not public. For a private one, name its network in "
        "webhooks.allow_private_networks, and give the webhook allow_private. Link-local ones are "
        "never asked"
    )
    policies = {
        "https": AddressPolicy(is_allowed=is_allowed, refusal=refusal),
        "http": AddressPolicy(
            is_allowed=is_on_this_machine,
            refusal="its URL is http, and {host} is not this machine",
        ),
    }
    return Network(policies=policies, start=TRY_SECONDS, idle=TRY_SECONDS)


def _beginning_of(response: ClientResponse, endpoint: WebhookEndpoint) -> str:
    """Return the beginning of an answer, without secrets, or an empty text if it has no body."""
    try:
        body = bytes(response.body(ANSWER_BYTES, is_cut=True))
    except FetchError:  # the status has come, and is enough for a result
        return ""
    text = " ".join(body.decode("utf-8", "replace").split())
    secrets = _secrets_of(endpoint)
    for secret in secrets:
        text = text.replace(secret, "***")
    if len(body) >= ANSWER_BYTES:
        # at the place where the body was cut off, the beginning of a secret may be left
        longest_secret = secrets[0]
        text = text[: -len(longest_secret)]
    text = _SECRET_TEXT.sub(f"{SECRET_PREFIX}***", text)
    return escaped(redact_tokens(text))[:ANSWER_CHARS]


def _secrets_of(endpoint: WebhookEndpoint) -> list[str]:
    """Return the secret texts that an answer may repeat of an endpoint, the longest one first."""
    url = urlsplit(endpoint.url)
    texts = {endpoint.url, url.path, url.query, f"{url.path}?{url.query}"}
    texts.update(url.path.split("/"))
    texts.update(value for _, value in parse_qsl(url.query))
    # a receiver may answer with a text that it has decoded
    texts.update({unquote(text) for text in texts})
    if endpoint.key is not None:
        texts.add(b64encode(endpoint.key).decode())
    # shorter texts are words such as hook, which any answer may have
    secrets = [text for text in texts if len(text) >= SECRET_CHARS]
    return sorted(secrets, key=len, reverse=True)
