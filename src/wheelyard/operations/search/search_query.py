"""What somebody searches for: words, or what a line of Python imports."""

import re
from typing import Final

from msgspec import Struct

from wheelyard.rendering.project_facts import fold

MAX_WORDS: Final = 32
"""The words of a search, and the parts of an import name, that are looked for."""

_NAME: Final = r"\w+(?:\.\w+)*"
_DOTTED_NAME: Final = re.compile(_NAME)
_IMPORT: Final = re.compile(rf"import\s+({_NAME})(?:\s*,.*|\s+as\s.*)?", re.DOTALL)
_FROM_IMPORT: Final = re.compile(rf"from\s+({_NAME})\s+import\b[\s(]*(\w*).*", re.DOTALL)


class SearchQuery(Struct, frozen=True):
    """What a search looks for."""

    words: tuple[str, ...]
    """Folded words, each once."""
    imports: tuple[str, ...] = ()
    """What `ProjectFacts.imports` has of a project that is imported so, the best first."""
    is_statement: bool = False
    """Whether it is a line of Python that imports."""


def parse_query(text: str) -> SearchQuery:
    """
    Return what a search for `text` looks for.

    `import acme.core` and `from acme import core` look for what is imported so, `acme.core` for
    that and for the word, all others for their words alone.
    """
    text = text.strip()
    if statement := _IMPORT.fullmatch(text):
        module = statement[1]
        return SearchQuery((fold(module),), _declarations(module), is_statement=True)
    if statement := _FROM_IMPORT.fullmatch(text):
        module, member = statement.groups()
        name = module
        if member:
            # it may be a module, too
            name = f"{module}.{member}"
        return SearchQuery((fold(module),), _declarations(name), is_statement=True)
    words = tuple(dict.fromkeys(fold(text).split()))[:MAX_WORDS]
    imports: tuple[str, ...] = ()
    if _DOTTED_NAME.fullmatch(text):
        imports = _declarations(text)
    return SearchQuery(words, imports)


def _declarations(name: str) -> tuple[str, ...]:
    """Return what projects declare that are imported by a name, the nearest to it first."""
    parts = name.lower().split(".")[:MAX_WORDS]
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    # a namespace says only that a project has something in it, so it comes behind the name itself
    names.insert(1, f"{names[0]}.*")
    return tuple(f" {declared} " for declared in names)
