"""The operation on the provenance of files (PEP 740)."""

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.api.operation import Call
from wheelyard.authentication.authorization import project_not_found
from wheelyard.errors import NotFound, quoted


class ProvenanceQuery(Struct, frozen=True):
    """Which file it is about."""

    filename: str


class ProvenanceAnswer(Struct, frozen=True, kw_only=True):
    """The provenance of a file."""

    filename: str
    sha256: str
    """The digest of the file."""
    provenance: bytes
    """The document of PEP 740, with the attestations by their publishers, in base64."""


def show_provenance(call: Call, name: NormalizedName, body: ProvenanceQuery) -> ProvenanceAnswer:
    """
    Show the provenance of a file, whose attestations were verified at its upload.

    The project is a private one, of the index or of its layers. Raises Unauthenticated, Forbidden
    or NotFound if the caller may not read the project. Raises NotFound if there is no such file, a
    rule hides it, the project is in quarantine, or the file has no provenance. Raises Unavailable
    if the store has lost it, or does not answer.
    """
    call.index.read_policy.require_project_read(call.caller, name)
    # of the index with its layers and rules: a hidden file has no provenance here
    answer = call.index.repository.find(name)
    if not answer.projects:
        raise project_not_found(name)
    file = answer.merged.by_filename.get(body.filename)
    # in quarantine no client gets a file, so none gets its provenance either
    if file is None or not answer.merged.status.serves_files:
        raise NotFound(f"There is no file {quoted(body.filename)}. Check the spelling.")
    document = call.index.files.provenance(name, file)
    return ProvenanceAnswer(filename=file.filename, sha256=file.sha256, provenance=document)
