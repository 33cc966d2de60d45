"""`wheelyard verify`: whether the attestations of a file hold, and who has signed it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click import Argument, Option
from msgspec import Struct

from wheelyard.api.local_api import LocalApi
from wheelyard.api.provenance_operations import ProvenanceQuery, show_provenance
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import Api, open_api
from wheelyard.cli.output import print_result
from wheelyard.cli.shared_options import JSON, PACKAGES
from wheelyard.errors import INVALID_ATTESTATIONS, UNKNOWN_AUTHORITY, Invalid, NotFound
from wheelyard.http_client.urls import BadUrl, Url, parse_url
from wheelyard.model.attestations import (
    REPOSITORY,
    Attestation,
    Provenance,
    Signer,
    read_provenance,
)
from wheelyard.model.decoding import escaped
from wheelyard.model.distribution_filename import KnownDistribution, known_filename_readings

if TYPE_CHECKING:
    from wheelyard.archive.attestation_verifier import AttestationVerifier


class VerifiedAttestation(Struct, frozen=True, kw_only=True):
    """An attestation that holds."""

    predicate_type: str
    subject: str
    """The signer whom the certificate names."""
    claims: Mapping[int, str]
    """The claims of the certificate, by the numbers of Sigstore."""


class Verification(Struct, frozen=True, kw_only=True):
    """The attestations of a file, all of which hold."""

    filename: str
    sha256: str
    attestations: tuple[VerifiedAttestation, ...]


def _required_repository(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> Url | None:
    """
    Return the URL of the repository that an option names, or None without the option.

    Raises BadParameter for any other text, such as that of an unset variable of the shell.
    """
    if value is None:
        return None
    repository = _read_repository(value)
    if repository is None:
        raise click.BadParameter(
            "It is no https URL of a repository. Name one, such as https://github.com/acme/core."
        )
    return repository


def _read_repository(text: str) -> Url | None:
    """Return the URL of a repository in one spelling, or None if the text is no such URL."""
    try:
        url = parse_url(text)
    except BadUrl:
        return None
    # in lower case, as GitHub and GitLab have no two repositories that differ in case alone
    path = url.path.strip("/").lower().removesuffix(".git")
    repository = Url("https", url.host, url.port, f"/{path}")
    # a URL with a password, a query or another scheme is none of a repository
    has_only_path = replace(url, path=repository.path) == repository
    if not path or not has_only_path:
        return None
    return repository


@cli_command(
    "verify",
    Argument(["file"], type=click.Path(dir_okay=False, path_type=Path)),
    Option(
        ["--trusted-root"],
        default="",
        metavar="PATH",
        help="The trusted_root.json of a private Sigstore, in place of that of the settings of a "
        "store, else of the public one.",
    ),
    Option(
        ["--repository"],
        callback=_required_repository,
        metavar="URL",
        help="The source repository that each certificate has to name.",
    ),
    JSON,
    PACKAGES,
    examples=(
        "wheelyard verify acme_core-1.0.tar.gz",
        "wheelyard verify acme_core-1.0.tar.gz --server https://packages.acme.dev",
        "wheelyard verify core-1.0.tar.gz --repository https://github.com/acme/core",
    ),
    page="attestations.md",
)
def verify_command(file: Path, trusted_root: str, repository: Url | None) -> None:
    """
    Verify FILE by its provenance in the index, here and without a connection to Sigstore.

    A server is also asked about public files, a store only about private ones. Print who has signed
    it. The exit status is 1 if it has no provenance, is another file than that
    of the index, or an attestation does not hold, or is of another repository than the one that is
    given. It needs the extra `attestations`.
    """
    # imported only here, as that takes a while
    from wheelyard.archive.attestation_verifier import AttestationVerifier

    sha256 = _sha256_of(file)
    api = open_api()
    provenance = _find_provenance(api, file.name)
    root_file = trusted_root or _root_of_settings(api)
    verifier = AttestationVerifier(root_file, "This command")
    verifier.require_usable()
    attestations = list[Attestation]()
    for bundle in provenance.attestation_bundles:
        for document in bundle.attestations:
            attestations.append(_verify_attestation(verifier, document, file.name, sha256))

    # after all signatures, as a certificate says nothing unless its signature holds
    if repository is not None:
        for attestation in attestations:
            _require_repository(file.name, attestation.signer, repository)
    verified = [_verified_attestation(attestation) for attestation in attestations]
    verification = Verification(filename=file.name, sha256=sha256, attestations=tuple(verified))
    print_result(verification, _signature_lines(verification))


def _verified_attestation(attestation: Attestation) -> VerifiedAttestation:
    """Return an attestation in the form in which it is printed."""
    return VerifiedAttestation(
        predicate_type=attestation.predicate_type,
        subject=attestation.signer.subject,
        claims=attestation.signer.claims,
    )


def _verify_attestation(
    verifier: "AttestationVerifier", document: Mapping[str, Any], filename: str, sha256: str
) -> Attestation:
    """
    Return an attestation if it holds for a file.

    Raises Invalid if it does not, with advice for the user of this command.
    """
    try:
        return verifier.verify(document, filename, sha256)
    except Invalid as error:
        message = error.message
        if error.code == INVALID_ATTESTATIONS:
            message = f"{message} Do not use the file until you know why."
        elif error.code == UNKNOWN_AUTHORITY:
            message = (
                "The attestations cannot be verified: one is signed with another authority than "
                f"{escaped(verifier.title)}, or with a key that is newer than the newest that this "
                f"command knows of it, of {verifier.newest_key():%Y-%m-%d}. Name the root of a "
                "private Sigstore with --trusted-root. For a newer key of the public one, upgrade "
                "the package sigstore."
            )
        raise Invalid(message, code=error.code) from error


def _sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, or raise Invalid if the file cannot be read."""
    try:
        with file.open("rb") as opened:
            return file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or "it is no file"
        raise Invalid(
            f"{escaped(str(file))} cannot be read: {reason}. Name a wheel or an sdist.",
            code="invalid_filename",
        ) from error


def _root_of_settings(api: Api) -> str:
    """Return the trusted root in the settings of a store, or an empty text for the public one."""
    if isinstance(api, LocalApi):
        return api.index.settings.attestations.trusted_root
    # the settings of a server may name a file, but that file is on its machine
    return ""


def _require_repository(filename: str, signer: Signer, repository: Url) -> None:
    """Raise Invalid (code `invalid_attestations`) unless the signer is a job of the repository."""
    signed_by = signer.claims.get(REPOSITORY, "")
    if _read_repository(signed_by) == repository:
        return
    fact = "no repository"
    if signed_by:
        fact = f"the repository {escaped(signed_by)}"
    raise Invalid(
        f"The certificate of an attestation of {filename} names {fact}, and not "
        f"{repository.redacted}. Do not use the file, or name the repository that builds it.",
        code=INVALID_ATTESTATIONS,
    )


def _find_provenance(api: Api, filename: str) -> Provenance:
    """
    Return the provenance that the index has of a file. A server also has those of public files.

    Raises NotFound if the index has none, and Invalid (code `invalid_attestations`) if the document
    has no attestations.
    """
    try:
        provenance = read_provenance(_fetch_provenance(api, filename))
    except (ValueError, RecursionError) as error:
        raise _no_attestations(filename) from error
    if not any(bundle.attestations for bundle in provenance.attestation_bundles):
        raise _no_attestations(filename)
    return provenance


def _no_attestations(filename: str) -> Invalid:
    return Invalid(
        f"What the index has as the provenance of {escaped(filename)} has no attestations. Do not "
        "use the file until you know why.",
        code=INVALID_ATTESTATIONS,
    )


def _fetch_provenance(api: Api, filename: str) -> bytes:
    """
    Return the provenance of the file of this name, which files of several projects may have.

    Raises Invalid if no distribution can have the name, and NotFound if the index has no provenance
    of such a file.
    """
    readings = known_filename_readings(filename)
    # the reading with the shortest name of a project is asked last: its error is the one raised
    for reading in readings[1:]:
        with suppress(NotFound):
            return _provenance_of(api, reading)
    return _provenance_of(api, readings[0])


def _provenance_of(api: Api, reading: KnownDistribution) -> bytes:
    """Return the provenance of a file of one project, or raise NotFound if the index has none."""
    if not isinstance(api, LocalApi):
        return api.provenance(reading.project, reading.version, reading.filename)
    query = ProvenanceQuery(reading.filename)
    try:
        return api.call(show_provenance, reading.project, query).provenance
    except NotFound as error:
        message = f"{error.message} A store has private files: for a public one, give --server."
        raise NotFound(message) from error


def _signature_lines(verified: Verification) -> Iterator[str]:
    for attestation in verified.attestations:
        kind = attestation.predicate_type
        yield f"{verified.filename}: signed by {attestation.subject}  {kind}"
