"""The page to sign in, and that of the person who looks at it: who they are, what they may do."""

from datetime import datetime

from msgspec import Struct

from wheelyard.model.access import Caller
from wheelyard.model.grants import describe_actions, describe_projects
from wheelyard.model.principals import credential_of, with_name
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.forms import FormState


class Account(Struct, frozen=True, kw_only=True):
    """A caller, and how it is signed in."""

    caller: Caller
    session_ends_at: datetime | None
    """When the session ends by itself; None if the browser sends a credential each time."""
    is_by_proxy: bool
    """Whether Identity-Aware Proxy says who it is."""
    may_administer: bool


def account_page(
    environment: PageEnvironment, viewer: Viewer, account: Account, form: FormState
) -> bytes:
    """Return the page of an account; `form` signs out."""
    caller = account.caller
    rights = [
        f"{describe_actions(each.actions)} {describe_projects(each.projects)}"
        for each in caller.scopes
    ]
    return environment.render(
        "account.html",
        viewer,
        "../../",
        account=account,
        who=with_name(caller.principal, caller.name),
        credential=credential_of(caller.principal),
        rights=sorted(set(rights)),
        form=form,
    )


class SignInFacts(Struct, frozen=True, kw_only=True):
    """What the sign-in page shows besides its form."""

    next_path: str
    """The page to which the form leads back."""
    has_passwords: bool
    """Whether there are user names with passwords; else only tokens are accepted."""
    takes_id_tokens: bool
    message: str = ""
    has_signed_out: bool = False
    contact: str = ""


def sign_in_page(environment: PageEnvironment, viewer: Viewer, facts: SignInFacts) -> bytes:
    """Return the bytes of the sign-in page."""
    return environment.render("sign_in.html", viewer, "../../", facts=facts)
