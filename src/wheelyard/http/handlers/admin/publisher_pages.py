"""The pages of trusted publishers, whose form depends on the provider of the jobs."""

from typing import Any, ClassVar

from wheelyard.errors import Invalid
from wheelyard.http.context import IndexRequest
from wheelyard.http.forms import FormFields
from wheelyard.http.handlers.admin.table_pages import TablePages
from wheelyard.model.stored_publishers import PublisherKeys
from wheelyard.model.stored_tables import ListedTable
from wheelyard.model.table_texts import MAX_ELEMENTS
from wheelyard.rendering.web.admin.form_fields import FormField
from wheelyard.rendering.web.admin.publisher_fields import COMMON, NAME_FIELD, PROVIDERS


class PublisherPages(TablePages):
    """Handles the pages of trusted publishers. The variants of the form are the providers."""

    LIST: ClassVar[str] = "publishers.html"
    FORM: ClassVar[str] = "publisher_form.html"
    QUESTION: ClassVar[str] = "publisher_remove.html"
    NAME_FIELD: ClassVar[FormField] = NAME_FIELD
    RARE_TITLE: ClassVar[str] = "More conditions"

    def has_form(self, variant: str) -> bool:
        """Return whether there is a provider of this name, as each provider has a form."""
        return variant in PROVIDERS

    def variant_in(self, fields: FormFields) -> str:
        """Return the provider in a form, or the first provider if the form names no known one."""
        provider = fields.text("provider")
        if provider in PROVIDERS:
            return provider
        first_provider, *_ = PROVIDERS
        return first_provider

    def variant_of(self, row: ListedTable) -> str:
        """Return the provider of a publisher, or an empty text for an unknown provider."""
        provider = str(row.keys.get("provider"))
        if provider in PROVIDERS:
            return provider
        return ""

    def form_values(
        self, request: IndexRequest, variant: str, table_before: ListedTable | None
    ) -> dict[str, object]:
        """
        Return the fields of the form of a provider, and the indexes to choose from.

        `variant` is the name of the provider, which has to be one of `PROVIDERS`.
        """
        del table_before
        provider = PROVIDERS[variant]
        return {
            "keys": (*COMMON, *provider.fields),
            "title": f"Add a publisher of {provider.label}",
            "provider": provider,
            "indexes": sorted(request.context.index.server.definitions.names()),
        }

    def list_values(self, request: IndexRequest, answer: Any) -> dict[str, object]:  # noqa: ANN401 - see there
        """Return the providers, and the names of the existing projects, to mark missing ones."""
        name_list = request.context.index.projects.names.get().value
        existing_names: frozenset[str] = frozenset()
        if name_list is not None:
            existing_names = name_list.as_set
        return {
            "providers": PROVIDERS,
            "existing": existing_names,
            "is_enabled": answer.is_enabled,
            "most_projects": MAX_ELEMENTS,
        }

    def texts_of(self, row: ListedTable) -> dict[str, str]:
        """Return the keys of a publisher as texts, for the fields of the form of its provider."""
        # the modules of the providers take a while to import
        from wheelyard.model.publisher_texts import texts_of_keys  # noqa: PLC0415

        return texts_of_keys(row.keys)

    def keys_in(self, fields: FormFields) -> PublisherKeys:
        """
        Return the keys of a form, with None for an empty field.

        Raises Invalid (code `invalid_field`), with the key, if a text is wrong, and (code
        `missing_field`) if the form names no provider.
        """
        # the modules of the providers take a while to import
        from wheelyard.model.publisher_texts import keys_of_texts  # noqa: PLC0415

        provider = PROVIDERS.get(fields.text("provider"))
        if provider is None:
            raise Invalid("Choose a provider.", code="missing_field")
        names = [field.key for field in (NAME_FIELD, *COMMON, *provider.fields)]
        # browsers send line breaks as CR LF on all systems
        texts = {name: fields.text(name).replace("\r\n", "\n") for name in names}
        keys = keys_of_texts(provider.name, texts)
        # None removes a key that the publisher had
        for name in names:
            keys.setdefault(name, None)
        return keys
