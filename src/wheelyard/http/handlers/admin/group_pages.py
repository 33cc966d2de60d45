"""The pages of groups: members, and changes of them."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from wheelyard.api import access_operations, people_operations
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, checking
from wheelyard.http.handlers.admin.admin_pages import (
    AdminPages,
    confirmed_by,
    paged,
    query_of_search,
    refused_for,
)
from wheelyard.http.handlers.admin.principals import credentials_in_use
from wheelyard.http.messages import Response
from wheelyard.model.grants import groups_in
from wheelyard.operations import access_control
from wheelyard.remedies import Caution
from wheelyard.rendering.web.account_pages import FormState
from wheelyard.rendering.web.admin.principal_kinds import chosen_principal

SECTION: Final = "groups/"
ROWS_ON_A_PAGE: Final = 100
CHANGES: Final[dict[str, access_control.GroupChange]] = {
    "make": "make",
    "add": "add",
    "remove": "remove",
    "delete": "delete",
}
"""The changes of the forms, by the text of `action`."""


class GroupFacts(Struct, frozen=True):
    """A group on a page."""

    group: access_control.ListedGroup
    grants: tuple[access_control.ListedGrant, ...]
    """The grants that name it."""


class GroupPages:
    """The pages of groups."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, one group, the form for a new one, or whether to delete one.

        `?search=` selects rows of the list. Raises NotFound if there is no such group.
        """
        query = self._pages.query(request)
        form = self._pages.form(request)
        if query.text("action") == "make":
            return self._group_form(request, form, 200)
        if query.text("group"):
            is_deletion = query.text("action") == "delete"
            return self._group(request, query, form, 200, is_deletion=is_deletion)
        return self._list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: make or delete a group, or change its members.

        The answer is a redirect, or the page of the group if there are warnings about its new
        members. What is refused is told on the form.
        """

        def act(fields: FormFields) -> Response:
            return self._change(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            # a group that is not there yet has no page on which the form could be
            if fields.text("action") == "make" or not fields.text("group"):
                return self._group_form(request, form, status)
            is_deletion = fields.text("action") == "delete"
            return self._group(request, fields, form, status, is_deletion=is_deletion)

        return self._pages.answer_form(request, act, ask_again)

    def _list(self, request: IndexRequest, query: FormFields) -> Response:
        access = self._pages.api(request).call(access_operations.show_access)
        search = query.text("search")
        matching = [group for group in access.groups if _has_text(group, search.casefold())]
        groups, numbers = paged(matching, query, ROWS_ON_A_PAGE)
        of_providers: Sequence[people_operations.ProviderGroup] = ()
        # groups that people are in by their provider, and that nobody can change here
        if request.context.index.authenticator.owners.providers:
            listed = self._pages.api(request).call(people_operations.list_provider_groups).groups
            of_providers = [group for group in listed if search.casefold() in group.principal]
        values = {
            "rows": [_facts(access, group) for group in groups],
            "of_providers": of_providers,
            "numbers": numbers,
            "search": search,
            "links": query_of_search(search),
            "deleted": query.text("deleted"),
        }
        return self._pages.show(request, SECTION, "groups.html", values)

    def _group_form(self, request: IndexRequest, form: FormState, status: int) -> Response:
        """Return the form for a new group."""
        return self._pages.show(request, SECTION, "group_form.html", {"form": form}, status)

    def _group(
        self,
        request: IndexRequest,
        query: FormFields,
        form: FormState,
        status: int,
        *,
        is_deletion: bool = False,
        warnings: tuple[Caution, ...] = (),
    ) -> Response:
        """
        Return the page of a group, or the one that asks whether to delete it.

        Raises NotFound if there is no such group.
        """
        access = self._pages.api(request).call(access_operations.show_access)
        name = query.text("group")
        group = next((group for group in access.groups if group.name == name), None)
        if group is None:
            raise NotFound(f"There is no group {quoted(name)}. It may have been deleted.")
        facts = _facts(access, group)
        kinds = tuple(credentials_in_use(request.context.index).grantees(is_member=True))
        values = {
            "form": form,
            "group": facts.group,
            "grants": facts.grants,
            "kinds": kinds,
            "done": query.text("done"),
            "warnings": warnings,
        }
        template = "group.html"
        if is_deletion:
            template = "group_delete.html"
        return self._pages.show(request, SECTION, template, values, status)

    def _change(self, request: IndexRequest, fields: FormFields) -> Response:
        """Make the change of a group that a form asks for. Raises WheelyardError to refuse it."""
        action = fields.action(*CHANGES)
        members = tuple(fields.all("member"))
        if action == "add":
            with checking("who"):
                members = (chosen_principal(fields.text("kind"), fields.text("who")),)
        if action == "remove" and not members:
            with checking("member"):
                message = "Nobody is selected. Select whom to remove."
                raise Invalid(message, code="missing_field")
        edit = access_operations.GroupEdit(
            change=CHANGES[action],
            name=fields.text("group"),
            who=members,
            note=fields.text("note"),
            even_if_own=bool(fields.text("even_if_own")),
        )
        field = "group"

        # whoever adds a member is on the page of the group, so that the name typed is the member's
        if action == "add":
            field = "who"

        # nobody locks themselves out without having ticked a box that says so
        with confirmed_by("even_if_own", access_control.OWN_ACCESS), refused_for(field):
            edited = self._pages.api(request).call(access_operations.edit_group, edit)
        if action == "delete":
            return self._pages.done(request, urlencode({"deleted": edit.name}))
        done = {"group": edit.name, "done": action}
        if edited is not None:
            # without a redirect, as the warnings are shown once; the same form adds nobody twice
            query = FormFields({name: (text,) for name, text in done.items()})
            form = self._pages.form(request)
            return self._group(request, query, form, 200, warnings=edited.warnings)
        return self._pages.done(request, urlencode(done))


def _has_text(group: access_control.ListedGroup, search: str) -> bool:
    """Return whether a text, in lower case, is in the name or the members of a group."""
    texts = [group.name, *group.members]
    return any(search in text.casefold() for text in texts)


def _facts(access: access_control.AccessList, group: access_control.ListedGroup) -> GroupFacts:
    """Return what a page shows of a group, with the grants that name it."""
    grants = tuple(grant for grant in access.grants if group.name in groups_in(grant.who))
    return GroupFacts(group, grants)
