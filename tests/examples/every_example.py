"""All examples, in the order of the table of operations."""

from typing import Final

from tests.examples import (
    access_examples,
    project_examples,
    table_examples,
    token_examples,
)
from tests.examples.example import Example

EXAMPLES: Final[tuple[Example, ...]] = (
    *project_examples.EXAMPLES,
    *access_examples.EXAMPLES,
    *token_examples.EXAMPLES,
    *table_examples.EXAMPLES,
)
