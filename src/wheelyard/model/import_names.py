"""
The names that a distribution is imported by: the fields `Import-Name` and `Import-Namespace`.

Follows PEP 794, and takes the names that `packaging` takes.
"""

from collections.abc import Sequence
from keyword import iskeyword
from operator import itemgetter

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
    """Those that no other project has anything below."""
    namespaces: tuple[ImportName, ...] = ()
    """Those that other projects may have something below, too."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """All names, as `acme.core`, and namespaces, as `acme.*`. Private ones come last."""
        patterns = [(imported.is_private, imported.name) for imported in self.names]
        patterns += [(space.is_private, f"{space.name}.*") for space in self.namespaces]
        return tuple(pattern for _, pattern in sorted(patterns, key=itemgetter(0)))


def parse_import_name(text: str) -> ImportName:
    """
    Return the import name of a line of metadata, such as `acme.core; private`.

    Raises ValueError with the reason if it is none.
    """
    # blanks are allowed around the semicolon, and nowhere else
    name, semicolon, option = text.partition(";")
    name = name.rstrip()
    if not all(identifier.isidentifier() for identifier in name.split(".")):
        raise ValueError("is not a name that Python can import")
    if any(map(iskeyword, name.split("."))):
        raise ValueError("has a keyword of Python, which cannot be imported")
    if semicolon and option.lstrip() != _PRIVATE:
        raise ValueError(f"has another option than '{_PRIVATE}'")
    return ImportName(name, is_private=bool(semicolon))


def names_of_both(imports: Imports) -> Sequence[str]:
    """Return the names that are import names and namespaces, which contradict each other."""
    namespaces = {namespace.name for namespace in imports.namespaces}
    return [declared.name for declared in imports.names if declared.name in namespaces]
