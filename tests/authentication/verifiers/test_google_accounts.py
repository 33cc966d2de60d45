"""The accounts that claims of Google name."""

import pytest

from wheelyard.authentication.verifiers.google_id_tokens import GoogleAccounts, IapAccounts
from wheelyard.authentication.verifiers.verifier import CredentialRejected


@pytest.mark.parametrize("email", [None, 7, "", "ana", "ana @acme.dev", "ána@acme.dev", "a@b\n"])
@pytest.mark.parametrize("accounts", [GoogleAccounts(frozenset()), IapAccounts()])
def test_nobody_without_an_address(accounts: GoogleAccounts | IapAccounts, email: object) -> None:
    """Claims without a plain address name nobody, though Google has signed them."""
    subject = "accounts.google.com:1234" if isinstance(accounts, IapAccounts) else "1234"
    claims = {"sub": subject, "email_verified": True, "email": email}

    with pytest.raises(CredentialRejected, match="jwt_email"):
        accounts.identify(claims)
    assert accounts.identify({**claims, "email": "ana@acme.dev"}).principal == "user:ana@acme.dev"
