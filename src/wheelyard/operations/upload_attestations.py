"""
The decision about attestations that come with an upload (PEP 740): kept, refused, or not kept.

The signers are compared with the trusted publishers of the project. With the token of a CI job, a
publisher of that job must have signed, so that a thief of the token cannot use the signature of
another job. With any other credential, the signer may be any publisher of the project, as a person
may upload the files that a job has made and signed.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from packaging.utils import NormalizedName

from wheelyard.errors import INVALID_ATTESTATIONS, Forbidden, Invalid
from wheelyard.model.access import Action, Caller, NamePatterns
from wheelyard.model.decoding import escaped
from wheelyard.operations.spooled_upload import SpooledUpload
from wheelyard.remedies import Advice, Remedy

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier
    from wheelyard.model.attestations import Attestation
    from wheelyard.model.publisher import Publisher

NOT_ACCEPTED: Final = (
    "The attestations were not kept, as this index does not store any. The file was accepted."
)
NO_PUBLISHER: Final = (
    "The attestations were not kept, as no trusted publisher of this index may publish the "
    "project, so nobody can say whose signature counts. The file was accepted."
)
NOT_KEPT: Final = frozenset({NOT_ACCEPTED, NO_PUBLISHER})
"""The warnings about attestations that were not kept."""
ATTESTATIONS_REQUIRED: Final = "attestations_required"
"""The code of a Forbidden for a file that needs attestations, and has none that can be kept."""
_PUBLISHER_PREFIX: Final = "publisher:"


class SentAttestations(Struct, frozen=True):
    """The decision about the attestations of one upload."""

    provenance: bytes = b""
    """The provenance document to keep, or empty bytes if nothing is kept."""
    warnings: tuple[str, ...] = ()
    """Why the attestations were not kept, in sentences."""


NO_ATTESTATIONS: Final = SentAttestations()


class AttestationRules(Struct, frozen=True):
    """Decides about the attestations of uploads to an index. Threads may share an object."""

    verifier: "AttestationVerifier"
    publishers: "Callable[[], tuple[Publisher, ...]]"
    """Returns the publishers in force. Raises Unavailable if they cannot be read."""
    index: str
    """The name of the index."""
    required: NamePatterns
    """The projects whose files need attestations."""

    def check(self, upload: SpooledUpload, caller: Caller) -> SentAttestations:
        """
        Verify the attestations of a file whose project is decided, and return the provenance.

        If no publisher may publish the project, nothing is kept, and a warning says why. Raises
        Invalid if the attestations do not hold, or no publisher of the project has signed (code
        `invalid_attestations`), if the trusted root does not have the authority that has confirmed
        a signer (code `unknown_authority`), or if the extra or the trusted root is missing (code
        `bad_setting`). Raises Forbidden (code `attestations_required`) if files of the project need
        attestations, and none can be kept. Raises Unavailable if the publishers cannot be read.
        """
        name = upload.distribution.project
        if not upload.attestations:
            self.permit_unsigned(name)
            return NO_ATTESTATIONS
        publishers = tuple(self._publishers_of(name, caller))
        if not publishers:
            # clients may send attestations to every index, so they alone are no reason to refuse
            if self.required.match(name):
                raise _required_error(
                    name, "no trusted publisher of this index may publish it. Have one added."
                )
            return SentAttestations(warnings=(NO_PUBLISHER,))
        try:
            attestations = self.verifier.verify_all(
                upload.attestations, upload.distribution.filename, upload.sha256
            )
        except Invalid as error:
            # with another code, the settings are wrong, and not what the client has sent
            if error.code != INVALID_ATTESTATIONS:
                raise
            advice = "Sign the file again, or upload it without."
            raise Invalid(f"{error.message} {advice}", code=error.code) from error

        # imported here, as most processes see no attestations
        from wheelyard.model.attestations import provenance_document  # noqa: PLC0415

        # a publisher must have signed each of them: all are shown as if they counted
        signers = [_signing_publisher(attestation, publishers) for attestation in attestations]
        signed = list(zip(attestations, signers, strict=True))
        return SentAttestations(provenance_document(signed))

    def permit_unsigned(self, name: NormalizedName) -> None:
        """
        Raise an error unless a file of a project may be uploaded without attestations.

        The error is a Forbidden (code `attestations_required`).
        """
        if self.required.match(name):
            raise _required_error(name, "it was sent without any. Sign it, and send them with it.")

    def permit_import(self, name: NormalizedName) -> None:
        """
        Raise an error unless files of a project may be imported, which is without attestations.

        The error is a Forbidden (code `attestations_required`).
        """
        if self.required.match(name):
            raise _required_error(
                name,
                "an import brings none. Upload them with their attestations, or take the project "
                "out of attestations.require for the import.",
            )

    def _publishers_of(self, name: NormalizedName, caller: Caller) -> "Iterator[Publisher]":
        """Yield the publishers whose signature counts for a project."""
        job_principals = set[str]()
        for principal in caller.principals:
            if principal.startswith(_PUBLISHER_PREFIX):
                job_principals.add(principal)
        for publisher in self.publishers():
            # with the token of a job, only the publishers of that job count
            if job_principals and publisher.principal not in job_principals:
                continue
            scope = publisher.scope
            if scope.holds_in(self.index) and scope.permits(Action.UPLOAD, name):
                yield publisher


def _signing_publisher(
    attestation: "Attestation", publishers: "tuple[Publisher, ...]"
) -> "Publisher":
    """Return the publisher that has signed an attestation. Raises Invalid if none of them has."""
    signer = attestation.signer
    for publisher in publishers:
        if signer.signs_for(publisher):
            return publisher
    raise Invalid(
        f"The attestations hold, and no trusted publisher of the project has signed: it was "
        f"{escaped(signer.description)}, and {signer.nearest_mismatch(publishers)}. Add a "
        "publisher for this signer, or upload without them (uv publish --no-attestations).",
        code=INVALID_ATTESTATIONS,
        advice=Advice(Remedy.LIST_PUBLISHERS),
    )


def _required_error(name: NormalizedName, why: str) -> Forbidden:
    """Return the error for a file without attestations that can be kept, which needs them."""
    return Forbidden(f"Files of {name} need attestations, and {why}", code=ATTESTATIONS_REQUIRED)
