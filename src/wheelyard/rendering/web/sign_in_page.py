"""The sign-in page."""

from dataclasses import dataclass

from wheelyard.rendering.error_facts import contact_url
from wheelyard.rendering.web.environment import PageEnvironment
from wheelyard.rendering.web.viewer import Viewer

ROOT = "../../"
"""The URL of the home page, relative to this page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInFacts:
    """What the sign-in page shows besides its form."""

    next_path: str
    """The page to which the form leads back."""
    has_passwords: bool
    """Whether there are user names with passwords; else only tokens are accepted."""
    takes_id_tokens: bool
    """Whether ID tokens of Google are accepted."""
    message: str = ""
    """Why the last attempt has failed."""
    has_signed_out: bool = False
    """Whether the person has just signed out."""
    contact: str = ""
    """Whom to ask for a credential."""

    @property
    def contact_url(self) -> str:
        """The link to `contact`; empty if there is none."""
        return contact_url(self.contact)


def sign_in_page(environment: PageEnvironment, viewer: Viewer, facts: SignInFacts) -> bytes:
    """Return the bytes of the sign-in page."""
    return environment.render("sign_in.html", viewer, ROOT, facts=facts)
