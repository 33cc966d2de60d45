"""
Where messages to a webhook go, and what signs them.

A URL is a key of the webhook or in a variable of the server, and a secret is in a variable or in
the store. A secret is told once, when it is made: it is in no key, journal or copy.
"""

from base64 import b64decode, b64encode
from datetime import datetime
from typing import Final

from msgspec import Struct

from wheelyard.catalog.webhook_records import WebhookSecrets
from wheelyard.concurrency.runtime import Runtime
from wheelyard.errors import Invalid
from wheelyard.model.stored_webhooks import Webhook, WebhookVariables, url_problem, variable_of
from wheelyard.model.variable_names import variable_part
from wheelyard.remedies import Advice, Remedy

SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what each of them begins with
"""How a secret begins in text, as Standard Webhooks writes it."""
SECRET_LENGTHS: Final = range(24, 65)
"""The bytes that a secret may have, by Standard Webhooks."""
NO_DELIVERY: Final = "no_delivery"
"""The code of an Invalid for a webhook that nothing can be sent to, as its URL or secret lacks."""
IN_STORE: Final = "store"
"""Where a secret is that no variable has."""


class WebhookEndpoint(Struct, frozen=True):
    """Where messages to a webhook go, and the key that signs them, or None for a chat."""

    url: str
    key: bytes | None

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return "WebhookEndpoint()"


class WebhookEndpoints(Struct, frozen=True):
    """
    Finds the URLs and the secrets of webhooks, and makes secrets.

    Threads may share it. Each method raises Unavailable if the store does not answer.
    """

    secrets: WebhookSecrets
    """What keeps the secrets that no variable has."""
    variables: WebhookVariables
    runtime: Runtime
    """Its randomness is for secrets."""

    def find(self, webhook: Webhook) -> WebhookEndpoint:
        """
        Return where messages to a webhook go, and the key that signs them.

        Raises Invalid (code `no_delivery`) if this process has no URL, or no secret.
        """
        url = self._url(webhook)
        if not webhook.is_signed:
            return WebhookEndpoint(url, None)
        return WebhookEndpoint(url, self._key(webhook))

    def has_variable(self, name: str) -> bool:
        """Return whether a variable has the secret of a webhook."""
        return variable_part(name) in self.variables.secrets

    def secret_from(self, name: str, created: datetime) -> str:
        """Return where the secret of a webhook is: a variable, `IN_STORE`, or empty for nowhere."""
        if self.has_variable(name):
            return variable_of(name, "SECRET")
        if self.secrets.get(name, created) is not None:
            return IN_STORE
        return ""

    def make_secret(self, webhook: Webhook) -> str:
        """Make a secret for a webhook, keep it in place of one that is stored, and return it."""
        # kept for this webhook alone: another one that gets its name later does not get its secret
        random = self.runtime.random.randbytes(SECRET_BYTES)
        secret = SECRET_PREFIX + b64encode(random).decode()
        self.secrets.keep(webhook.name, webhook.created, secret)
        return secret

    def _url(self, webhook: Webhook) -> str:
        """Return the URL of a webhook. Raises Invalid if this process has none."""
        # A URL that lets everybody in who knows it, such as that of a chat, is in a variable: keys
        # are in the journal, and in copies of the store.
        if webhook.url:
            return webhook.url
        variable = variable_of(webhook.name, "URL")
        url = self.variables.urls.get(variable_part(webhook.name))
        if url is None:
            raise _no_delivery(
                f"This process has no {variable}, which says where it is. Set it of each server "
                "that delivers, and start that again."
            )
        # that of a key was looked at when the webhook was added
        why = url_problem(url)
        if why:
            raise _no_delivery(f"{variable} of the server is wrong: {why}.")
        return url

    def _key(self, webhook: Webhook) -> bytes:
        """Return the key that signs messages. Raises Invalid if this process has none."""
        name = webhook.name
        variable = variable_of(name, "SECRET")
        if self.has_variable(name):
            key = signing_key(self.variables.secrets[variable_part(name)])
            if key is None:
                raise _no_delivery(
                    f"{variable} of the server is no secret. Set it to {SECRET_PREFIX} and "
                    f"{SECRET_LENGTHS[0]} to {SECRET_LENGTHS[-1]} random bytes in base64."
                )
            return key
        key = signing_key(self.secrets.get(name, webhook.created) or "")
        if key is None:
            raise Invalid(
                f"The webhook {name} has no secret here. Make one, or set {variable} of each "
                "server that delivers, and start that again.",
                code=NO_DELIVERY,
                advice=Advice(Remedy.NEW_WEBHOOK_SECRET, name),
            )
        return key


def _no_delivery(why: str) -> Invalid:
    """Return the error for a webhook that nothing can be sent to."""
    return Invalid(why, code=NO_DELIVERY)


def signing_key(secret: str) -> bytes | None:
    """Return the bytes of a secret in text, or None if it is none, by Standard Webhooks."""
    # strictly: with a wrong character left out, the receiver would find each signature wrong
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        return None
    if len(key) not in SECRET_LENGTHS:
        return None
    return key
