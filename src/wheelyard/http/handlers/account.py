"""Handler of `/-/account/`: who the caller is, by which credential, what it may do; signing out."""

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.caller_tokens import is_token_admin
from wheelyard.http.protocol.messages import Request, Response
from wheelyard.http.security.form_tokens import form_token
from wheelyard.http.web_pages import WebPages
from wheelyard.rendering.web.account_page import Account, account_page
from wheelyard.rendering.web.forms import FormState


async def answer_account(request: Request, web: WebPages) -> Response:
    """Handle GET: the account of the caller."""
    caller, context = request.caller, web.context
    if caller.is_anonymous:
        raise invalid_credential()
    session = request.session
    account = Account(
        caller=caller,
        session_ends_at=session.expiry if session else None,
        is_by_proxy=session is None and b"authorization" not in request.headers,
        may_administer=is_token_admin(caller),
    )
    form = FormState(await form_token(request, context))
    return web.own_page(200, account_page(web.environment, web.viewer(request), account, form))
