"""Who has signed a file, as the page of its release shows it."""

from collections.abc import Iterator

from msgspec import Struct

from wheelyard.model.attestations import Provenance


class ShownSigner(Struct, frozen=True):
    """The publisher of a bundle of attestations."""

    publisher: str
    """The provider, and the repository or the account: `GitHub acme/core`."""
    file: str
    """The workflow or the pipeline file, or an empty text."""
    ref: str
    commit: str
    run: str
    """The URL of the run, or an empty text."""


class ShownProvenance(Struct, frozen=True):
    """The provenance of one file of a release."""

    filename: str
    version: str
    signers: tuple[ShownSigner, ...]


def shown_signers(provenance: Provenance) -> Iterator[ShownSigner]:
    """Yield who has signed, for each bundle of a provenance."""
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
