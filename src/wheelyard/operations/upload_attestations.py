"""
The attestations that come with an upload (PEP 740): kept, refused, or left for want of a publisher.

Who signs is compared with the trusted publishers of the project. With the token of a CI job, one of
its own publishers has to have signed, so that nobody who has stolen it borrows another signature.
With any other credential it may be each publisher of the project: a job signs, and a person uploads
what it has made.
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
    """What becomes of the attestations of one upload."""

    provenance: bytes = b""
    """The document to keep, or nothing."""
    warnings: tuple[str, ...] = ()
    """Why they were not kept."""


NO_ATTESTATIONS: Final = SentAttestations()


class AttestationRules(Struct, frozen=True):
    """Decides about the attestations of uploads to an index. Threads may share it."""

    verifier: "AttestationVerifier"
    publishers: "Callable[[], tuple[Publisher, ...]]"
    """Returns those in force. Raises Unavailable if they cannot be read."""
    index: str
    """The name of the index."""
    required: NamePatterns
    """The projects whose files need attestations."""

    def check(self, upload: SpooledUpload, caller: Caller) -> SentAttestations:
        """
        Verify what was sent with a file whose project is decided, and return what to keep.

        Nothing is kept, and a warning says why, if no publisher may publish the project. Raises
        Invalid if they do not hold, or nobody has signed whose signature counts (code
        `invalid_attestations`), if the trusted root does not know who has confirmed a signer (code
        `unknown_authority`), or if the extra or the trusted root is missing (code `bad_setting`).
        Raises Forbidden (code `attestations_required`) if the project needs some, and none can be
        kept. Raises Unavailable if the publishers cannot be read.
        """
        name = upload.distribution.project
        if not upload.attestations:
            self.permit_unsigned(name)
            return NO_ATTESTATIONS
        publishers = tuple(self._publishers_of(name, caller))
        if not publishers:
            # a client may send attestations to every index: the file itself is welcome
            if self.required.match(name):
                raise _required(
                    name, "no trusted publisher of this index may publish it. Have one added."
                )
            return SentAttestations(warnings=(NO_PUBLISHER,))
        try:
            attestations = self.verifier.verify_all(
                upload.attestations, upload.distribution.filename, upload.sha256
            )
        except Invalid as error:
            # it is the trusted root of the settings that is wrong, and not what was sent
            if error.code != INVALID_ATTESTATIONS:
                raise
            advice = "Sign the file again, or upload it without."
            raise Invalid(f"{error.message} {advice}", code=error.code) from error

        # nothing of it is loaded without attestations
        from wheelyard.model.attestations import provenance_document  # noqa: PLC0415

        # each has to be by a publisher: one of a stranger would be shown as if it counted
        signers = [_publisher_of(attestation, publishers) for attestation in attestations]
        signed = list(zip(attestations, signers, strict=True))
        return SentAttestations(provenance_document(signed))

    def permit_unsigned(self, name: NormalizedName) -> None:
        """
        Do nothing if a file of a project may be uploaded without attestations.

        Raises Forbidden (code `attestations_required`) otherwise.
        """
        if self.required.match(name):
            raise _required(name, "it was sent without any. Sign it, and send them with it.")

    def permit_import(self, name: NormalizedName) -> None:
        """
        Do nothing if the files of a project may come without attestations, as an import has none.

        Raises Forbidden (code `attestations_required`) otherwise.
        """
        if self.required.match(name):
            raise _required(
                name,
                "an import brings none. Upload them with their attestations, or take the project "
                "out of attestations.require for the import.",
            )

    def _publishers_of(self, name: NormalizedName, caller: Caller) -> "Iterator[Publisher]":
        """Yield the publishers whose signature counts for a project."""
        of_job = set[str]()
        for principal in caller.principals:
            if principal.startswith(_PUBLISHER_PREFIX):
                of_job.add(principal)
        for publisher in self.publishers():
            # a stolen token of a job is of no use with a signature of another publisher
            if of_job and publisher.principal not in of_job:
                continue
            scope = publisher.scope
            if scope.holds_in(self.index) and scope.permits(Action.UPLOAD, name):
                yield publisher


def _publisher_of(attestation: "Attestation", publishers: "tuple[Publisher, ...]") -> "Publisher":
    """Return the publisher that has signed an attestation. Raises Invalid if it is none of them."""
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


def _required(name: NormalizedName, why: str) -> Forbidden:
    return Forbidden(f"Files of {name} need attestations, and {why}", code=ATTESTATIONS_REQUIRED)
