"""
The names that a distribution is imported by: the fields `Import-Name` and `Import-Namespace`.

Follows PEP 794, and takes the names that `packaging` takes.
"""

from collections.abc import Sequence
from keyword import iskeyword

from msgspec import Struct

_PRIVATE = "private"
"""The only option of a name: other projects are not meant to import it."""


class ImportName(Struct, frozen=True):
    """A name that Python imports, such as `acme.core`."""

    name: str
    is_private: bool = False
    """Whether other projects are not meant to import it."""


class Imports(Struct, frozen=True):
    """The names that a distribution is imported by, as its metadata have them."""

    names: tuple[ImportName, ...] = ()
    """Names below which no other project has anything."""
    namespaces: tuple[ImportName, ...] = ()
    """Names below which other projects may have something, too."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All names, as `acme.core`, and namespaces, as `acme.*`. Private ones come last."""
        public = [imported.name for imported in self.names if not imported.is_private]
        private = [imported.name for imported in self.names if imported.is_private]
        for namespace in self.namespaces:
            patterns = private if namespace.is_private else public
            patterns.append(f"{namespace.name}.*")
        return tuple(public + private)


def parse_import_name(text: str) -> ImportName:
    """
    Return the import name of a line of metadata, such as `acme.core; private`.

    Raises ValueError if the text is no import name. The message is the end of a sentence that
    begins with the name of the field.
    """
    # blanks are allowed around the semicolon, and nowhere else
    name, semicolon, option = text.partition(";")
    name = name.rstrip()
    identifiers = name.split(".")
    if not all(identifier.isidentifier() for identifier in identifiers):
        raise ValueError("is not a name that Python can import")
    if any(iskeyword(identifier) for identifier in identifiers):
        raise ValueError("has a keyword of Python, which cannot be imported")
    if semicolon and option.lstrip() != _PRIVATE:
        raise ValueError(f"has another option than '{_PRIVATE}'")
    return ImportName(name, is_private=bool(semicolon))


def names_of_both(imports: Imports) -> Sequence[str]:
    """Return the names that are import names and also namespaces, which is a contradiction."""
    namespaces = {namespace.name for namespace in imports.namespaces}
    return [declared.name for declared in imports.names if declared.name in namespaces]
