"""The pages of trusted publishers: the list, a form for each provider, removal, history."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode

from msgspec import Meta, Struct

from wheelyard.api import publisher_operations
from wheelyard.api.access_operations import AccessHistoryQuery
from wheelyard.api.publisher_operations import (
    NewPublisher,
    PublisherEdit,
    PublisherRemoval,
)
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, form_body
from wheelyard.http.handlers.admin.pages import (
    AdminPages,
    newest_part,
    paged,
    query_of,
)
from wheelyard.http.messages import Response
from wheelyard.model.stored_publishers import ListedPublisher, PublisherKeys, describe_event
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.publisher_fields import PROVIDERS, ProviderForm

SECTION: Final = "publishers/"
ROWS_ON_A_PAGE: Final = 100
COMMON: Final = ("id", "projects", "actions", "index")
"""The fields of each form, besides those of its provider."""


class SeenPublisher(Struct, frozen=True):
    """The publisher that a form was shown with."""

    id: str
    as_of: Annotated[datetime, Meta(tz=True)]
    """When it had been changed last."""


class PublisherPages:
    """The pages of trusted publishers."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """Handle GET: the list, the form of a provider, or the question whether to remove one."""
        query, form = self._pages.query(request), self._pages.form(request)
        provider = PROVIDERS.get(query.text("add"))
        if provider is not None:
            return self._publisher_form(request, provider, None, form, 200)
        for action in ("change", "remove"):
            if query.text(action):
                return self._of_stored(request, action, query.text(action), form, 200)
        return self._list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """Handle POST: add, change or remove a publisher."""

        def act(fields: FormFields) -> Response:
            action = fields.action("add", "change", "remove")
            if action == "remove":
                return self._remove(request, fields)
            return self._save(request, fields, action)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            action, provider = fields.text("action"), PROVIDERS.get(fields.text("provider"))
            if action in {"change", "remove"}:
                return self._of_stored(request, action, fields.text("id"), form, status)
            provider = provider or next(iter(PROVIDERS.values()))
            return self._publisher_form(request, provider, None, form, status)

        return self._pages.answer_form(request, act, ask_again)

    def answer_history(self, request: IndexRequest) -> Response:
        """Handle GET: the changes of publishers, newest first."""
        query, api = self._pages.query(request), self._pages.api(request)
        revision = api.call(publisher_operations.list_publishers).revision
        part = newest_part(query, revision)
        wanted = AccessHistoryQuery(part.after, part.limit)
        commits = api.call(publisher_operations.publisher_history, wanted).commits
        changes = [event for commit in commits for event in commit.events]
        described = [(event, describe_event(event)) for event in reversed(changes)]
        return self._pages.show_history(request, SECTION, "trusted publishers", described, part)

    def _list(self, request: IndexRequest, query: FormFields) -> Response:
        answer = self._pages.api(request).call(publisher_operations.list_publishers)
        search = query.text("search")
        fit = [row for row in answer.publishers if _is_found(row, search.casefold())]
        rows, numbers = paged(fit, query, ROWS_ON_A_PAGE)
        listed = request.context.index.projects.names.get().value
        values = {
            "rows": rows,
            "numbers": numbers,
            "search": search,
            "links": query_of({"search": search} if search else {}),
            "providers": PROVIDERS,
            "existing": listed.as_set if listed else frozenset(),
            "is_enabled": answer.is_enabled,
            "done": query.text("done"),
            "id": query.text("id"),
            "names": self._pages.names_of(request, (row.created_by for row in rows)),
        }
        return self._pages.show(request, SECTION, "publishers.html", values)

    def _publisher_form(
        self,
        request: IndexRequest,
        provider: ProviderForm,
        before: ListedPublisher | None,
        form: FormState,
        status: int,
    ) -> Response:
        values = {
            "form": form,
            "provider": provider,
            "before": before,
            "texts": _texts_of(before.publisher) if before else {},
            "indexes": sorted(request.context.index.server.definitions.names()),
        }
        return self._pages.show(request, SECTION, "publisher_form.html", values, status)

    def _of_stored(
        self, request: IndexRequest, action: str, publisher_id: str, form: FormState, status: int
    ) -> Response:
        """
        Return the form that changes a publisher, or asks whether to remove it.

        Raises NotFound if there is no such publisher.
        """
        listed = self._pages.api(request).call(publisher_operations.list_publishers).publishers
        row = next((row for row in listed if row.id == publisher_id), None)
        if row is None:
            name = quoted(publisher_id)
            raise NotFound(f"There is no publisher {name}. It may have been removed.")
        provider = PROVIDERS.get(str(row.publisher.get("provider")))
        if action == "change" and provider is not None:
            return self._publisher_form(request, provider, row, form, status)
        values = {"form": form, "row": row}
        return self._pages.show(request, SECTION, "publisher_remove.html", values, status)

    def _save(self, request: IndexRequest, fields: FormFields, action: str) -> Response:
        # the providers take a while to import
        from wheelyard.model.publisher_texts import keys_of_texts  # noqa: PLC0415

        provider = PROVIDERS.get(fields.text("provider"))
        if provider is None:
            raise Invalid("Choose a provider.", code="missing_field")
        names = (*COMMON, *(field.key for field in provider.fields))
        texts = {name: _with_line_breaks(fields.text(name)) for name in names}
        keys, note = keys_of_texts(provider.name, texts), fields.text("note")
        api = self._pages.api(request)
        if action == "add":
            api.call(publisher_operations.add_publisher, NewPublisher(keys, note))
        else:
            # a field that is empty leaves its key out
            changes = {name: keys.get(name) for name in names if name != "id"}
            seen = form_body(fields, SeenPublisher)
            edit = PublisherEdit(seen.id, changes, note, seen.as_of)
            api.call(publisher_operations.change_publisher, edit)
        return self._pages.done(request, urlencode({"done": action, "id": fields.text("id")}))

    def _remove(self, request: IndexRequest, fields: FormFields) -> Response:
        removal = PublisherRemoval(fields.text("id"), fields.text("note"))
        self._pages.api(request).call(publisher_operations.remove_publisher, removal)
        return self._pages.done(request, urlencode({"done": "remove", "id": removal.id}))


def _texts_of(keys: PublisherKeys) -> Mapping[str, str]:
    # the providers take a while to import
    from wheelyard.model.publisher_texts import texts_of_keys  # noqa: PLC0415

    return texts_of_keys(keys)


def _with_line_breaks(text: str) -> str:
    return text.replace("\r\n", "\n")  # as browsers send them


def _is_found(row: ListedPublisher, search: str) -> bool:
    texts = (row.id, row.note, *map(str, row.publisher.values()))
    return search in "\n".join(texts).casefold()
