"""What verifies attestations, as the settings say."""

from typing import TYPE_CHECKING

from wheelyard.settings.sections import Settings

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier


def build_verifier(settings: Settings) -> "AttestationVerifier | None":
    """Return what verifies attestations, or None while none are kept."""
    if not settings.attestations.accept:
        return None
    # nothing of it is loaded while it is off
    from wheelyard.archive.attestation_verifier import AttestationVerifier  # noqa: PLC0415

    return AttestationVerifier(settings.attestations.trusted_root)


def require_attestations(settings: Settings) -> None:
    """Raise Invalid (code `bad_setting`) if attestations are taken, and cannot be verified."""
    verifier = build_verifier(settings)
    if verifier is not None:
        verifier.require_usable()
