"""What programs are told of a project."""

import pytest
from msgspec import ValidationError
from msgspec.json import decode

from wheelyard.model.project_json import EventJson


@pytest.mark.parametrize(
    "fields", ['"what":"uploaded"', '"what":"status"', '"what":"yanked","status":"active"']
)
def test_an_event_that_contradicts_itself(fields: str) -> None:
    """An answer with an upload without a file, or the like, is none of a wheelyard server."""
    body = f'{{{fields},"at":"2026-11-20T10:00:00Z","by":"local:alice"}}'

    with pytest.raises(ValidationError):
        decode(body, type=EventJson)
