"""The parsed text of a search: words, or the import names of a line of Python."""

import re
from typing import Final

from msgspec import Struct

from wheelyard.rendering.project_facts import fold

MAX_WORDS: Final = 32
"""The most words of a search, and the most parts of an import name, that are looked for."""

_NAME: Final = r"\w+(?:\.\w+)*"
_DOTTED_NAME: Final = re.compile(_NAME)
_IMPORT: Final = re.compile(rf"import\s+({_NAME})(?:\s*,.*|\s+as\s.*)?", re.DOTALL)
_FROM_IMPORT: Final = re.compile(rf"from\s+({_NAME})\s+import\b[\s(]*(\w*).*", re.DOTALL)


class SearchQuery(Struct, frozen=True):
    """The words and import names that a search looks for."""

    words: tuple[str, ...]
    """Folded words, each once."""
    imports: tuple[str, ...] = ()
    """
    The declarations in `ProjectFacts.imports` of matching projects, the best match first.

    Empty if the text cannot be an import name.
    """
    is_statement: bool = False
    """Whether the text is an import statement of Python."""


def parse_query(text: str) -> SearchQuery:
    """
    Parse the text of a search.

    `import acme.core` and `from acme import core` look for import names, `acme.core` for an import
    name and a word, and all other texts for their words alone.
    """
    text = text.strip()
    if statement := _IMPORT.fullmatch(text):
        module = statement[1]
        return SearchQuery((fold(module),), _declarations(module), is_statement=True)
    if statement := _FROM_IMPORT.fullmatch(text):
        module, member = statement.groups()
        import_name = module
        if member:
            # the member may be a module of its own
            import_name = f"{module}.{member}"
        return SearchQuery((fold(module),), _declarations(import_name), is_statement=True)
    unique_words = tuple(dict.fromkeys(fold(text).split()))
    declarations: tuple[str, ...] = ()
    if _DOTTED_NAME.fullmatch(text):
        declarations = _declarations(text)
    return SearchQuery(unique_words[:MAX_WORDS], declarations)


def _declarations(import_name: str) -> tuple[str, ...]:
    """
    Return the declarations of projects that have a module of this name, the best match first.

    These are the name itself, the namespace of the name, and the names above it. Each is between
    two blanks, as in `ProjectFacts.imports`.
    """
    parts = import_name.lower().split(".")[:MAX_WORDS]
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    # behind the name itself, as a project with a namespace has only some of the names in it
    names.insert(1, f"{names[0]}.*")
    return tuple(f" {name} " for name in names)
