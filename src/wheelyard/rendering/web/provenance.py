"""Who has signed a file, as the page of its release shows it."""

from collections.abc import Iterator

from msgspec import Struct

from wheelyard.model.attestations import Provenance


class ShownSigner(Struct, frozen=True):
    """The publisher that has signed a bundle of attestations. Unknown texts are empty."""

    publisher: str
    """The provider, and the repository or the account: `GitHub acme/core`."""
    file: str
    """The workflow or the pipeline file."""
    ref: str
    """The Git ref that the run was for."""
    commit: str
    """The hash of the Git commit."""
    run: str
    """The URL of the run."""


class ShownProvenance(Struct, frozen=True):
    """The provenance of one file of a release."""

    filename: str
    version: str
    signers: tuple[ShownSigner, ...]


def shown_signers(provenance: Provenance) -> Iterator[ShownSigner]:
    """Yield the signer of each bundle of a provenance."""
    for bundle in provenance.attestation_bundles:
        publisher = bundle.publisher
        claims = publisher.claims or {}  # PEP 740: a publisher may have none
        yield ShownSigner(
            publisher=publisher.title,
            file=publisher.file,
            ref=claims.get("ref", ""),
            commit=claims.get("sha", ""),
            run=claims.get("run", ""),
        )
