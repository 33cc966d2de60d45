"""
The URL that messages to a webhook go to, and the secret that signs them.

The URL is a key of the webhook, or the value of a variable of the server. The secret is the value
of a variable, or in the store. A secret is told once, when it is made: it is in no key, journal or
copy.
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
"""The code of an Invalid for a webhook without a URL or a secret, so that nothing can be sent."""
IN_STORE: Final = "store"
"""The place of a secret that no variable has."""


class WebhookEndpoint(Struct, frozen=True):
    """The URL that messages to a webhook go to, and the key that signs them."""

    url: str
    key: bytes | None
    """The key, or None for a chat, whose messages are not signed."""

    def __repr__(self) -> str:  # without secrets, because it may be logged
        return "WebhookEndpoint()"


class WebhookEndpoints(Struct, frozen=True):
    """
    Finds the URLs and the secrets of webhooks, and makes secrets.

    Threads may share an object. Each method raises Unavailable if the store does not answer.
    """

    secrets: WebhookSecrets
    """The secrets in the store, for webhooks without a variable."""
    variables: WebhookVariables
    runtime: Runtime
    """Has the randomness for new secrets."""

    def find(self, webhook: Webhook) -> WebhookEndpoint:
        """
        Return the URL that messages to a webhook go to, and the key that signs them.

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
        """
        Return the place of the secret of a webhook: the name of a variable, or `IN_STORE`.

        The text is empty if the webhook has no secret.
        """
        if self.has_variable(name):
            return variable_of(name, "SECRET")
        if self.secrets.get(name, created) is not None:
            return IN_STORE
        return ""

    def make_secret(self, webhook: Webhook) -> str:
        """Make a secret for a webhook, store it in place of an older one, and return it."""
        # with the time of this webhook: a later webhook of the same name does not get the secret
        random = self.runtime.random.randbytes(SECRET_BYTES)
        secret = SECRET_PREFIX + b64encode(random).decode()
        self.secrets.keep(webhook.name, webhook.created, secret)
        return secret

    def _url(self, webhook: Webhook) -> str:
        """Return the URL of a webhook. Raises Invalid if this process has none."""
        # A URL that is a secret itself, such as that of a chat, is in a variable. Keys are in the
        # journal, and in copies of the store.
        if webhook.url:
            return webhook.url
        variable = variable_of(webhook.name, "URL")
        url = self.variables.urls.get(variable_part(webhook.name))
        if url is None:
            raise _no_delivery(
                f"This process has no {variable}, which says where it is. Set it of each server "
                "that delivers, and start that again."
            )
        # a URL that is a key was checked when the webhook was added
        problem = url_problem(url)
        if problem:
            raise _no_delivery(f"{variable} of the server is wrong: {problem}.")
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
    """Return the bytes of a secret, or None if the text is no secret of Standard Webhooks."""
    # strictly: if a wrong character were left out here, every signature would be wrong
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        return None
    if len(key) not in SECRET_LENGTHS:
        return None
    return key
