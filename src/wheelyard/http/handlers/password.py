"""Handlers of `/-/account/password/`, on which people change their password."""

from wheelyard.authentication.api_tokens import invalid_credential
from wheelyard.authentication.authorization import require_password_caller
from wheelyard.authentication.verifiers.verifier import client_network
from wheelyard.errors import Invalid, Unauthenticated, WheelyardError
from wheelyard.http.error_responses import error_response_for, with_body
from wheelyard.http.forms import (
    CSRF_FIELD,
    FormFields,
    checking,
    form_token,
    read_form,
    refused_form,
    require_form_token,
)
from wheelyard.http.messages import NO_STORE, Header, Request, Response, redirect
from wheelyard.http.representation import MediaType
from wheelyard.http.request_authentication import RequestAuthenticator, SessionCookie
from wheelyard.http.web_pages import WebPages
from wheelyard.model.access import Credential
from wheelyard.model.changed_password import MIN_PASSWORD_CHARS
from wheelyard.rendering.web.account_pages import FormState

ROOT = "../../../"
"""The home page, relative to this one."""


class PasswordPages:
    """The page on which somebody who has signed in with a password gets another one."""

    def __init__(self, web: WebPages) -> None:
        self._web = web
        self._context = web.context

    def show(self, request: Request) -> Response:
        """Handle GET: the form."""
        self._require_caller(request)
        page = self._page(request, FormState(form_token(request, self._context)))
        return self._web.own_page(200, page)

    def change(self, request: Request) -> Response:
        """Handle POST: change the password, and go on with a new session."""
        self._require_caller(request)
        fields = read_form(request)
        try:
            require_form_token(request, self._context, fields.text(CSRF_FIELD))
            headers = self._change(request, fields)
        except WheelyardError as error:
            page = self._page(request, refused_form(request, self._context, fields, error))
            content_type = MediaType.HTML.value.content_type
            return with_body(
                error_response_for(error), content_type, page, *self._web.security_headers
            )
        return redirect(303, self._web.path("-", "account", query=b"password-changed"), *headers)

    def _change(self, request: Request, fields: FormFields) -> tuple[Header, ...]:
        """
        Change the password, and return the headers of the answer.

        Raises as `PasswordChanges.change`, and Waiting until the present password is verified.
        """
        index, changes = self._context.index, self._context.index.passwords
        assert changes is not None  # noqa: S101 - the caller has a password
        caller, session = request.caller, request.browser_session
        with checking("again"):
            if fields.exact_text("new") != fields.exact_text("again"):
                raise Invalid("This is not what you have typed above.", code="invalid_field")
        name = caller.principal.removeprefix("htpasswd:")
        network = client_network(request.address)
        present = Credential(name, fields.exact_text("present"), client_network=network)
        with checking("present"):
            try:
                # within the limits of a sign-in, in the threads for hashes
                RequestAuthenticator(self._context).verify(request, present)
            except Unauthenticated:
                raise Invalid("This is not your present password.", code="invalid_field") from None
        index.authenticator.count_sign_in(caller, request.address)
        credential = changes.change(caller, present, fields.exact_text("new"))
        cookie = SessionCookie.of(index.settings)
        if session is None or cookie is None:  # the browser asks for the new password itself
            return (NO_STORE,)
        value, begun = index.sessions.begin(credential, caller)
        seconds = begun.expires_at - int(index.runtime.seconds())
        return NO_STORE, cookie.header(value, seconds)

    def _require_caller(self, request: Request) -> None:
        """Raise Unauthenticated or Forbidden unless the caller can change a password here."""
        if request.caller.is_anonymous:
            raise invalid_credential()
        require_password_caller(request.caller)
        if self._context.index.settings.server.read_only:
            raise self._context.read_only()

    def _page(self, request: Request, form: FormState) -> bytes:
        caller = request.caller
        return self._web.environment.render(
            "password.html",
            self._web.viewer(caller),
            ROOT,
            form=form,
            user=caller.principal.removeprefix("htpasswd:"),
            min_chars=MIN_PASSWORD_CHARS,
        )
