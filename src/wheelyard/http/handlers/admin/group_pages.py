"""The pages of groups: the list, a group with its members, and forms to change them."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from msgspec import Struct

from wheelyard.api import access_operations, people_operations
from wheelyard.errors import Invalid, NotFound, quoted
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields, naming_field
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
"""The changes of groups by forms, by the text of the field `action`."""


class GroupFacts(Struct, frozen=True):
    """A group with its grants, for a page."""

    group: access_control.ListedGroup
    grants: tuple[access_control.ListedGrant, ...]
    """The grants that name the group."""


class GroupPages:
    """Handles the pages of groups."""

    def __init__(self, pages: AdminPages) -> None:
        self._pages = pages

    def answer(self, request: IndexRequest) -> Response:
        """
        Handle GET: the list, one group, the form for a new one, or the question before a deletion.

        `?search=` selects rows of the list. Raises NotFound if there is no such group.
        """
        query = self._pages.query(request)
        form = self._pages.form(request)
        if query.text("action") == "make":
            return self._show_form(request, form, 200)
        if query.text("group"):
            is_deletion = query.text("action") == "delete"
            return self._show_group(request, query, form, 200, is_deletion=is_deletion)
        return self._show_list(request, query)

    def answer_form(self, request: IndexRequest) -> Response:
        """
        Handle POST: make or delete a group, or change its members.

        The answer is a redirect, or the page of the group if there are warnings about its new
        members. A refused form is shown again with the reason.
        """

        def act(fields: FormFields) -> Response:
            return self._change(request, fields)

        def ask_again(fields: FormFields, form: FormState, status: int) -> Response:
            # a group that does not exist yet has no page for the form
            if fields.text("action") == "make" or not fields.text("group"):
                return self._show_form(request, form, status)
            is_deletion = fields.text("action") == "delete"
            return self._show_group(request, fields, form, status, is_deletion=is_deletion)

        return self._pages.answer_form(request, act, ask_again)

    def _show_list(self, request: IndexRequest, query: FormFields) -> Response:
        """Return the list of groups, and the groups of providers."""
        api = self._pages.api(request)
        access = api.call(access_operations.show_access)
        search = query.text("search")
        matching_groups = [group for group in access.groups if _has_text(group, search.casefold())]
        groups, numbers = paged(matching_groups, query, ROWS_ON_A_PAGE)
        provider_groups: Sequence[people_operations.ProviderGroup] = ()
        # a provider decides who is in its groups, so they cannot be changed here
        if request.context.index.authenticator.owners.providers:
            listed_groups = api.call(people_operations.list_provider_groups).groups
            provider_groups = [
                group for group in listed_groups if search.casefold() in group.principal
            ]
        values = {
            "rows": [_group_facts(access, group) for group in groups],
            "of_providers": provider_groups,
            "numbers": numbers,
            "search": search,
            "links": query_of_search(search),
            "deleted": query.text("deleted"),
        }
        return self._pages.show(request, SECTION, "groups.html", values)

    def _show_form(self, request: IndexRequest, form: FormState, status: int) -> Response:
        """Return the page with the form for a new group."""
        return self._pages.show(request, SECTION, "group_form.html", {"form": form}, status)

    def _show_group(
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
        Return the page of a group, or the page that asks whether to delete the group.

        Raises NotFound if there is no such group.
        """
        access = self._pages.api(request).call(access_operations.show_access)
        facts = _find_group(access, query.text("group"))
        credentials = credentials_in_use(request.context.index)
        values = {
            "form": form,
            "group": facts.group,
            "grants": facts.grants,
            "kinds": tuple(credentials.grantees(is_member=True)),
            "done": query.text("done"),
            "warnings": warnings,
        }
        template = "group.html"
        if is_deletion:
            template = "group_delete.html"
        return self._pages.show(request, SECTION, template, values, status)

    def _change(self, request: IndexRequest, fields: FormFields) -> Response:
        """Change a group by a form. Raises WheelyardError if the change is refused."""
        action = fields.action(*CHANGES)
        members = tuple(fields.all("member"))
        if action == "add":
            with naming_field("who"):
                members = (chosen_principal(fields.text("kind"), fields.text("who")),)
        if action == "remove" and not members:
            with naming_field("member"):
                message = "Nobody is selected. Select whom to remove."
                raise Invalid(message, code="missing_field")
        edit = access_operations.GroupEdit(
            change=CHANGES[action],
            name=fields.text("group"),
            who=members,
            note=fields.text("note"),
            even_if_own=bool(fields.text("even_if_own")),
        )
        typed_field = "group"

        # to add a member, the name of the member is typed, as the page is that of the group
        if action == "add":
            typed_field = "who"

        # administrators have to tick a box before they take away their own access
        with confirmed_by("even_if_own", access_control.OWN_ACCESS), refused_for(typed_field):
            edited_group = self._pages.api(request).call(access_operations.edit_group, edit)
        if action == "delete":
            return self._pages.done(request, urlencode({"deleted": edit.name}))
        if edited_group is not None:
            # no redirect, as the warnings are shown once; the same form adds no member twice
            query = FormFields({"group": (edit.name,), "done": (action,)})
            form = self._pages.form(request)
            return self._show_group(request, query, form, 200, warnings=edited_group.warnings)
        return self._pages.done(request, urlencode({"group": edit.name, "done": action}))


def _has_text(group: access_control.ListedGroup, search: str) -> bool:
    """Return whether a text, in lower case, is in the name or the members of a group."""
    texts = [group.name, *group.members]
    return any(search in text.casefold() for text in texts)


def _find_group(access: access_control.AccessList, name: str) -> GroupFacts:
    """Return a group with its grants, or raise NotFound if there is no such group."""
    for group in access.groups:
        if group.name == name:
            return _group_facts(access, group)
    raise NotFound(f"There is no group {quoted(name)}. It may have been deleted.")


def _group_facts(
    access: access_control.AccessList, group: access_control.ListedGroup
) -> GroupFacts:
    """Return a group with the grants that name it."""
    grants = tuple(grant for grant in access.grants if group.name in groups_in(grant.who))
    return GroupFacts(group, grants)
