"""Whose Google credentials these are, for the journal."""

import json
from base64 import urlsafe_b64decode
from typing import Any


def email_of(credentials: Any) -> str | None:  # noqa: ANN401 - each kind is a class of its own
    """
    Return the e-mail of whoever these credentials are, None where they do not tell.

    A service account's always do, once they have been used (the metadata server's say `default`
    until then); a person's do where Google has sent an identity together with the access.
    """
    for attribute in ("service_account_email", "account"):
        email = getattr(credentials, attribute, None)
        if isinstance(email, str) and "@" in email:
            return email
    return _claimed(getattr(credentials, "id_token", None))


def _claimed(id_token: object) -> str | None:
    """Return the e-mail in an ID token that has just come from Google, so it is not verified."""
    if not isinstance(id_token, str) or id_token.count(".") != 2:  # noqa: PLR2004 - RFC 7519
        return None
    payload = id_token.split(".")[1]
    try:
        claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    email = claims.get("email") if isinstance(claims, dict) else None
    return email if isinstance(email, str) and "@" in email else None
