"""The pages of webhooks, with the deliveries and the secret of each."""

from typing import ClassVar, Final
from urllib.parse import urlencode

from msgspec.structs import replace

from wheelyard.api import webhook_operations
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields
from wheelyard.http.handlers.admin.table_pages import TablePages
from wheelyard.http.messages import Response
from wheelyard.http.one_time_secret import read_secret, redirect_with_secret, with_secret_removed
from wheelyard.model.index_name import MAIN
from wheelyard.model.stored_tables import ListedTable, TableKeys
from wheelyard.model.stored_webhooks import WEBHOOK_KIND, ListedWebhook, WebhookFormat
from wheelyard.model.webhook_state import DeliveryAttempt
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.form_fields import FormField
from wheelyard.rendering.web.admin.webhook_fields import FIELDS, NAME_FIELD

ACTIONS: Final = ("new-secret", "send-again", "test")
"""The actions of the page of one webhook."""
SEND_AGAIN: Final = "send-again"


class WebhookPages(TablePages):
    """Handles the pages of webhooks."""

    LIST: ClassVar[str] = "webhooks.html"
    FORM: ClassVar[str] = "webhook_form.html"
    QUESTION: ClassVar[str] = "webhook_remove.html"
    NAME_FIELD: ClassVar[FormField] = NAME_FIELD

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: a webhook with its deliveries, a new secret, the list, or a form.

        A secret is shown once, as the page removes its cookie. Raises NotFound if there is no such
        webhook.
        """
        query = self.pages.query(request)
        if query.text("secret"):
            return self._show_secret(request, query.text("secret"))
        name = query.text("show")
        if not name:
            return super().answer(request)
        has_resent = query.text("done") == SEND_AGAIN
        return self._show_webhook(request, name, self.pages.form(request), has_resent=has_resent)

    def act(self, request: IndexRequest, fields: FormFields) -> Response:
        """
        Make the change of a form, and return the response.

        Beside the actions of all tables, a form makes a new secret, sends dead letters again, or
        sends a test. A test is sent at once, and noted among the deliveries; the response shows its
        result. Other changes are answered with a redirect. Raises WheelyardError if the form is
        refused.
        """
        name = fields.text("name")
        api = self.pages.api(request)
        match fields.text("action"):
            case "new-secret":
                secret = webhook_operations.NewWebhookSecret(name=name, note=fields.text("note"))
                row = api.call(webhook_operations.make_secret, secret)
                return _redirect_to_secret(request, row)
            case "send-again":
                letters = webhook_operations.LettersToSend(name=name, ids=fields.all("id") or None)
                api.call(webhook_operations.send_again, letters)
                query = urlencode({"show": name, "done": SEND_AGAIN})
                return self.pages.done(request, query)
            case "test":
                named_webhook = webhook_operations.NamedWebhook(name)
                attempt = api.call(webhook_operations.send_test, named_webhook)
                # no redirect, as the result is shown once
                return self._show_webhook(request, name, self.pages.form(request), tested=attempt)
            case _:
                return super().act(request, fields)

    def ask_again(
        self, request: IndexRequest, fields: FormFields, form: FormState, status: int
    ) -> Response:
        """
        Return the page of a refused form, which may be that of one webhook.

        The URL of a webhook for Slack is not shown again, as it is a secret. Raises NotFound if the
        webhook is gone.
        """
        if fields.text("action") in ACTIONS:
            return self._show_webhook(request, fields.text("name"), form, status)
        if fields.text("format") == WebhookFormat.SLACK:
            values = dict(form.values)
            values["url"] = ()
            form = replace(form, values=values)
        return super().ask_again(request, fields, form, status)

    def answer_added(self, request: IndexRequest, row: ListedTable) -> Response:
        """Return the redirect to the page of a new secret, or without one the usual response."""
        if isinstance(row, ListedWebhook) and row.secret:
            return _redirect_to_secret(request, row)
        return super().answer_added(request, row)

    def form_values(
        self, request: IndexRequest, variant: str, table_before: ListedTable | None
    ) -> dict[str, object]:
        """Return the fields of a webhook, and the indexes to choose from."""
        del variant, table_before
        names = (MAIN, *sorted(request.context.index.server.definitions.names()))
        return {"keys": FIELDS, "index_names": names}

    def keys_in(self, fields: FormFields) -> TableKeys:
        """
        Return the keys of a form without that of the secret, with None for an empty field.

        Raises Invalid (code `invalid_field`), with the key, if a text is wrong.
        """
        keys = super().keys_in(fields)
        # the form has no field of the secret, which a change must not remove
        del keys["secret"]
        return keys

    def _show_webhook(
        self,
        request: IndexRequest,
        name: str,
        form: FormState,
        status: int = 200,
        *,
        tested: DeliveryAttempt | None = None,
        has_resent: bool = False,
    ) -> Response:
        """
        Return the page of one webhook.

        `tested` is the result of a test that was sent just now, and `has_resent` says that dead
        letters were sent again just now. Raises NotFound if there is no such webhook.
        """
        row = self.find_listed(request, name)
        names = self.pages.names_of(request, (row.created_by,))
        named_webhook = webhook_operations.NamedWebhook(name)
        deliveries = self.pages.api(request).call(webhook_operations.list_deliveries, named_webhook)
        values = {
            "form": form,
            "row": row,
            "description": WEBHOOK_KIND.describe_keys(row.keys),
            "names": names,
            "deliveries": deliveries,
            "tested": tested,
            "is_again": has_resent,
        }
        return self.pages.show(request, self.section, "webhook.html", values, status)

    def _show_secret(self, request: IndexRequest, name: str) -> Response:
        """Return the page that shows a secret once. Raises NotFound if there is no such webhook."""
        row = self.find_listed(request, name)
        # from a cookie, which the answer removes, so that the page shows it once
        secret = read_secret(request, _secret_subject(name))
        values = {"row": row, "secret": secret}
        page = self.pages.show(request, self.section, "webhook_secret.html", values)
        if not secret:
            return page
        return with_secret_removed(request, _secret_subject(name), page)


def _redirect_to_secret(request: IndexRequest, row: ListedWebhook) -> Response:
    """Return the redirect to the page that shows a new secret once, with the secret in a cookie."""
    query = urlencode({"secret": row.name})
    return redirect_with_secret(request, _secret_subject(row.name), row.secret, query)


def _secret_subject(name: str) -> str:
    """Return the text to which the secret of a webhook is sealed in its cookie."""
    return f"webhook {name}"
