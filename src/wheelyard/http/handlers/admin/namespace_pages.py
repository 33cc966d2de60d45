"""The pages of namespaces, whose form has a field of owners."""

from typing import ClassVar, Final

from wheelyard.http.context import IndexRequest
from wheelyard.http.handlers.admin.table_pages import TablePages
from wheelyard.model.stored_tables import ListedTable
from wheelyard.operations.namespaces import HIDES_PUBLIC_NAMES
from wheelyard.rendering.web.admin.form_fields import FormField

OWNERS: Final = FormField(
    "owners",
    "Owners",
    "Principals and groups, such as group:platform, with commas between.",
    is_required=True,
)


class NamespacePages(TablePages):
    """Handles the pages of namespaces."""

    ADD_ACTION: ClassVar[str] = "grant"
    LIST: ClassVar[str] = "namespaces.html"
    FORM: ClassVar[str] = "namespace_form.html"
    NAME_FIELD: ClassVar[FormField] = FormField("name", "Name", is_required=True, limit=128)
    CONFIRMED: ClassVar[str] = HIDES_PUBLIC_NAMES

    def form_values(
        self, request: IndexRequest, variant: str, table_before: ListedTable | None
    ) -> dict[str, object]:
        """Return the only field besides the name: the owners of the namespace."""
        del request, variant, table_before
        return {"keys": (OWNERS,)}
