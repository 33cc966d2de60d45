"""All examples, in the order of the table of operations."""

from collections.abc import Callable, Mapping
from typing import Final

from tests.examples import (
    access_examples,
    decision_examples,
    project_examples,
    table_examples,
    token_examples,
)
from tests.examples.example import Example
from wheelyard.api import (
    access_operations,
    package_request_operations,
    people_operations,
    provenance_operations,
    public_package_operations,
    webhook_operations,
)

EXAMPLES: Final[tuple[Example, ...]] = (
    *project_examples.EXAMPLES,
    *access_examples.EXAMPLES,
    *token_examples.EXAMPLES,
    *table_examples.EXAMPLES,
    *decision_examples.EXAMPLES,
)
LEFT: Final[Mapping[Callable[..., object], str]] = {
    provenance_operations.show_provenance: "needs a signed file, see tests/attestations",
    access_operations.revoke_sent_token: "is for a token alone, see test_own_tokens.py",
    people_operations.release_name: "needs a provider, see test_provider_sign_in.py",
    webhook_operations.send_test: "needs a receiver, see tests/webhooks",
    package_request_operations.request_package: "needs an upstream index, see tests/upstream",
    public_package_operations.refresh: "needs an upstream index, see tests/upstream",
}
"""The operations without an example, and why."""
