"""Sends one message to one webhook: signs it, and says what became of it."""

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
"""Bytes of an answer that are read."""
ANSWER_CHARS: Final = 200
"""Characters of an answer that are kept."""
SECRET_CHARS: Final = 6
"""The least characters of a part of a URL that may be a secret."""
TEST: Final = "test"
"""What a message to try a webhook is about."""
_SECRET_TEXT: Final = re.compile(rf"{SECRET_PREFIX}[A-Za-z0-9+/=]+")
_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class SendResult(Struct, frozen=True):
    """What became of a try."""

    attempt: DeliveryAttempt
    wait: timedelta = timedelta()
    """How long the receiver wants to be left alone, by Retry-After. Five minutes at most."""


class WebhookSender:
    """
    Sends messages to webhooks.

    Threads may share it. A redirect is not followed. Which addresses are allowed is checked when
    the connection is made, so no name can lead elsewhere later.

    Args:
        endpoints: Where webhooks are.
        networks: Private networks for those that allow them.
        urls: The URLs in messages.
        runtime: Its clock.
        describe: Returns a principal in words, for chats.
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
        private = tuple(map(ip_network, networks))
        # two, as the same host may be allowed to one webhook, and not to another
        self._public = Requester(runtime, _network(()))
        self._private = Requester(runtime, _network(private))

    def send(
        self, webhook: Webhook, outgoing: Outgoing, may_send: Callable[[], bool]
    ) -> SendResult | None:
        """
        Send a message once, and return what became of it. A failure is part of that.

        Return None if it may not be sent any more. That is asked when the time limit runs already,
        so a process that stands still meanwhile sends nothing afterwards.
        """
        began = self._runtime.monotonic()
        status = 0
        answer = ""
        error = ""
        wait = timedelta()

        # whatever the receiver does is a part of the result: only a fault of ours is raised
        try:
            endpoint = self._endpoints.find(webhook)
            requester = self._public
            if webhook.allow_private:
                requester = self._private
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
        except Invalid as incomplete:  # this server does not know its URL or its secret
            error = incomplete.message
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
        Send a message that tries the webhook, and return what became of it.

        `by` is the principal who tries it. A failure is part of the result.
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
        outcome = self.send(webhook, outgoing, lambda: True)
        assert outcome is not None  # noqa: S101 - it may be sent
        return outcome.attempt

    def close(self) -> None:
        """Close all connections."""
        self._public.close()
        self._private.close()

    def _post(
        self, requester: Requester, webhook: Webhook, endpoint: WebhookEndpoint, outgoing: Outgoing
    ) -> ClientResponse:
        body = self._body(webhook, outgoing.message)
        headers = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": f"wheelyard/{version('wheelyard')}",
        }
        if endpoint.key is not None:
            # of this try: a receiver refuses what is minutes old, so that nobody can replay it
            stamp = str(int(self._runtime.seconds()))
            headers["webhook-id"] = outgoing.id
            headers["webhook-timestamp"] = stamp
            headers["webhook-signature"] = signature(endpoint.key, outgoing.id, stamp, body)
        return requester.send("POST", parse_url(endpoint.url), headers, body)

    def _body(self, webhook: Webhook, message: AnyMessage) -> bytes:
        if webhook.format is WebhookFormat.SLACK:
            return encode({"text": text_of(message, self.describe)})
        return encode(message)


def signature(key: bytes, message_id: str, stamp: str, body: bytes) -> str:
    """Return the signature of a message (Standard Webhooks, symmetric, version 1)."""
    signed = f"{message_id}.{stamp}.".encode() + body
    return f"v1,{b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def _network(private: tuple[IPv4Network | IPv6Network, ...]) -> Network:
    """Return what may be connected to: https anywhere that is allowed, http on this machine."""
    anywhere = PublicOr(private)
    here = PublicOr(_LOOPBACK, only_loopback=True)

    def is_allowed(address: Address) -> bool:
        return anywhere(address) and not is_link_local(address)

    refusal = (
        "its host {host} has an address that is not public. For a private one, name its network in "
        "webhooks.allow_private_networks, and give the webhook allow_private. Link-local ones are "
        "never asked"
    )
    policies = {
        "https": AddressPolicy(is_allowed=is_allowed, refusal=refusal),
        "http": AddressPolicy(
            is_allowed=here, refusal="its URL is http, and {host} is not this machine"
        ),
    }
    return Network(policies=policies, start=TRY_SECONDS, idle=TRY_SECONDS)


def _beginning_of(response: ClientResponse, endpoint: WebhookEndpoint) -> str:
    """Return the beginning of an answer, without secrets, or an empty text if it has none."""
    try:
        body = bytes(response.body(ANSWER_BYTES, is_cut=True))
    except FetchError:  # the status is there, which is what counts
        return ""
    text = " ".join(body.decode("utf-8", "replace").split())
    secrets = _secrets_of(endpoint)
    for secret in secrets:
        text = text.replace(secret, "***")
    if len(body) >= ANSWER_BYTES:
        # where it is cut off, a part of a secret may be left
        text = text[: -max(map(len, secrets))]
    return escaped(redact_tokens(_SECRET_TEXT.sub(f"{SECRET_PREFIX}***", text)))[:ANSWER_CHARS]


def _secrets_of(endpoint: WebhookEndpoint) -> list[str]:
    """Return what an answer may repeat of a URL and its secret, the longest text first."""
    url = urlsplit(endpoint.url)
    texts = {endpoint.url, url.path, url.query, f"{url.path}?{url.query}"}
    texts.update(url.path.split("/"))
    texts.update(value for _, value in parse_qsl(url.query))
    # a receiver may answer with what it has decoded
    texts.update({unquote(text) for text in texts})
    if endpoint.key is not None:
        texts.add(b64encode(endpoint.key).decode())
    # shorter ones are words such as hook, which any answer may have
    return sorted((text for text in texts if len(text) >= SECRET_CHARS), key=len, reverse=True)
