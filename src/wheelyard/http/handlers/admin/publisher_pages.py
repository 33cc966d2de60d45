"""The pages of trusted publishers."""

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
    """The pages of trusted publishers, whose form is that of a provider."""

    LIST: ClassVar[str] = "publishers.html"
    FORM: ClassVar[str] = "publisher_form.html"
    QUESTION: ClassVar[str] = "publisher_remove.html"
    NAME_FIELD: ClassVar[FormField] = NAME_FIELD
    RARE_TITLE: ClassVar[str] = "More conditions"

    def has_form(self, variant: str) -> bool:
        """Return whether there is a provider of this name, each of which has a form."""
        return variant in PROVIDERS

    def variant_in(self, fields: FormFields) -> str:
        """Return the provider that a form names, or the first one for what is none."""
        provider = fields.text("provider")
        if provider in PROVIDERS:
            return provider
        return next(iter(PROVIDERS))

    def variant_of(self, row: ListedTable) -> str:
        """Return the provider of a publisher, or nothing if this version does not know it."""
        provider = str(row.keys.get("provider"))
        if provider in PROVIDERS:
            return provider
        return ""

    def form_values(
        self, request: IndexRequest, variant: str, before: ListedTable | None
    ) -> dict[str, object]:
        """
        Return the fields of the form of a provider, and the indexes to choose from.

        `variant` is the name of the provider, which has to be one of `PROVIDERS`.
        """
        del before
        provider = PROVIDERS[variant]
        return {
            "keys": (*COMMON, *provider.fields),
            "title": f"Add a publisher of {provider.label}",
            "provider": provider,
            "indexes": sorted(request.context.index.server.definitions.names()),
        }

    def list_values(self, request: IndexRequest, answer: Any) -> dict[str, object]:  # noqa: ANN401 - see there
        """Return the providers, and which of the projects exist that publishers name."""
        listed = request.context.index.projects.names.get().value
        existing: frozenset[str] = frozenset()
        if listed is not None:
            existing = listed.as_set
        return {
            "providers": PROVIDERS,
            "existing": existing,
            "is_enabled": answer.is_enabled,
            "most_projects": MAX_ELEMENTS,
        }

    def texts_of(self, row: ListedTable) -> dict[str, str]:
        """Return the keys of a publisher as texts, for the fields of the form of its provider."""
        # the providers take a while to import
        from wheelyard.model.publisher_texts import texts_of_keys  # noqa: PLC0415

        return texts_of_keys(row.keys)

    def keys_in(self, fields: FormFields) -> PublisherKeys:
        """
        Return the keys that a form says, with None for an empty field.

        Raises Invalid (code `invalid_field`), with the key, if a text is wrong, and (code
        `missing_field`) if the form names no provider.
        """
        # the providers take a while to import
        from wheelyard.model.publisher_texts import keys_of_texts  # noqa: PLC0415

        provider = PROVIDERS.get(fields.text("provider"))
        if provider is None:
            raise Invalid("Choose a provider.", code="missing_field")
        names = [field.key for field in (NAME_FIELD, *COMMON, *provider.fields)]
        # browsers send line breaks in this way, whatever the system is
        texts = {name: fields.text(name).replace("\r\n", "\n") for name in names}
        keys = keys_of_texts(provider.name, texts)
        # None takes a key away that the publisher had
        for name in names:
            keys.setdefault(name, None)
        return keys
