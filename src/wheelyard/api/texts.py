"""The types of texts in bodies and answers, which `docs/openapi.json` describes by their names."""

from typing import Annotated

from msgspec import Meta

from wheelyard.model import access

Name = Annotated[str, Meta(title="Name")]
"""The name of a project in any spelling."""
Version = Annotated[str, Meta(title="Version")]
OptionalVersion = Annotated[str, Meta(title="OptionalVersion")]
"""A version, or an empty text."""
VersionSet = Annotated[str, Meta(title="VersionSet")]
Filename = Annotated[str, Meta(title="Filename")]
Reason = Annotated[str, Meta(title="Reason")]
"""One line of text."""
Pattern = Annotated[access.Pattern, Meta(title="Pattern")]
Sha256 = Annotated[str, Meta(title="Sha256")]
TokenName = Annotated[str, Meta(title="TokenName")]
Word = Annotated[str, Meta(title="Word")]
"""`read`, `upload`, `manage` or `admin`."""
