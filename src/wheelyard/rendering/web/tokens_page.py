"""The pages on which people make, list and revoke API tokens: their own, or everybody's."""

from collections.abc import Sequence

from msgspec import Struct

from wheelyard.model.access import Action
from wheelyard.model.token import ListedToken
from wheelyard.rendering.client_settings import USER
from wheelyard.rendering.web.environment import PageEnvironment, Viewer
from wheelyard.rendering.web.forms import FormState


class TokensView(Struct, frozen=True, kw_only=True):
    """What all pages of tokens know of the caller."""

    is_for_all: bool
    """Whether it is about everybody's tokens, and not about the caller's own."""
    may_administer: bool
    hindrance: str = ""
    """Why the caller can make no token here; empty if there is no reason."""
    needs_sign_in: bool = False
    """Whether signing in again removes it."""
    may_revoke: bool
    """Whether tokens can be revoked here: not on a read-only server."""
    max_days: int

    @property
    def root(self) -> str:
        """The home page, relative to these pages."""
        return "../../" if self.is_for_all else "../../../"


def tokens_page(
    environment: PageEnvironment,
    viewer: Viewer,
    view: TokensView,
    rows: Sequence[ListedToken],
    form: FormState,
    revoked: ListedToken | None = None,
) -> bytes:
    """Return the page with the list of tokens and the form for a new one."""
    newest = sorted(rows, key=lambda row: row.record.created_at, reverse=True)
    return environment.render(
        "tokens.html",
        viewer,
        view.root,
        view=view,
        active=[row for row in newest if row.state == "active"],
        others=[row for row in newest if row.state != "active" and not row.record.publishers],
        form=form,
        revoked=revoked,
    )


def made_page(
    environment: PageEnvironment, viewer: Viewer, view: TokensView, row: ListedToken, token: str
) -> bytes:
    """Return the page that shows a new token, once, and how to use it."""
    url = environment.client_settings.upload_url
    to_uv = f"UV_PUBLISH_URL={url} UV_PUBLISH_TOKEN={token}"
    to_twine = f"TWINE_REPOSITORY_URL={url} TWINE_USERNAME={USER} TWINE_PASSWORD={token}"
    commands = {
        "uv": f"{to_uv} uv publish dist/*",
        "twine": f"{to_twine} twine upload dist/*",
    }
    return environment.render(
        "token_made.html",
        viewer,
        view.root,
        view=view,
        row=row,
        token=token,
        user=USER,
        may_upload=bool(row.record.scope.actions & Action.UPLOAD),
        publishing={
            client: environment.with_links(command, view.root)
            for client, command in commands.items()
        },
    )
