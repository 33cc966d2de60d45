"""
A Sigstore in memory: an authority for certificates, and the two logs that promise and prove.

Its certificates and log entries have the shape of those of Fulcio and Rekor v1, and its
`trusted_root` is what the operator of a private Sigstore would give to an index.
"""

import hashlib
import json
import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PUBLISH: Final = "https://docs.pypi" + ".org/attestations/publish/v1"
SLSA: Final = "https://slsa.dev/provenance/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
TEN_MINUTES: Final = timedelta(minutes=10)
_PROMISES: Final = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_CLAIM: Final = "1.3.6.1.4.1.57264.1."
SIGNED_AT: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""When everything is signed: what was right then holds for ever."""
_BEGINNING: Final = datetime(2024, 1, 1, tzinfo=UTC)
_END: Final = datetime(2044, 1, 1, tzinfo=UTC)
_SHA256: Final = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True)
class Identity:
    """Who signs: what the certificate says of a job or an account."""

    issuer: str
    subject: str
    claims: Mapping[int, str] = field(default_factory=dict)

    def with_claims(self, **claims: str) -> "Identity":
        """Return it with other claims, as `c15="1"`; an empty text takes one out."""
        numbers = {int(name[1:]): value for name, value in claims.items()}
        merged = {**self.claims, **numbers}
        return replace(self, claims={number: text for number, text in merged.items() if text})


def github(
    repository: str = "acme/widget", workflow: str = "release.yml", ref: str = "refs/tags/v1.0"
) -> Identity:
    """Return a job of GitHub Actions."""
    base = f"https://github.com/{repository}"
    started = f"{base}/.github/workflows/{workflow}@{ref}"
    commit = "c" * 40
    claims = {9: started, 10: commit, 11: "github-hosted", 12: base, 13: commit, 14: ref}
    claims |= {15: "1001", 16: base.rpartition("/")[0], 17: "2002", 18: started, 19: commit}
    claims |= {20: "push", 21: f"{base}/actions/runs/1/attempts/1", 22: "private"}
    return Identity("https://token.actions.githubusercontent.com", started, claims)


def gitlab(project: str = "acme/tools/widget", ref: str = "refs/tags/v1.0") -> Identity:
    """Return a job of GitLab CI."""
    base = f"https://gitlab.com/{project}"
    started = f"{base}//.gitlab-ci.yml@{ref}"
    commit = "d" * 40
    claims = {9: started, 12: base, 13: commit, 14: ref, 15: "3003", 17: "4004", 18: started}
    claims |= {19: commit, 20: "push", 21: f"{base}/-/jobs/5"}
    return Identity("https://gitlab.com", started, claims)


def google(email: str = "release@acme.iam.gserviceaccount.com") -> Identity:
    """Return a service account of Google."""
    return Identity("https://accounts.google.com", email)


def circleci(project: str, definition: str) -> Identity:
    """Return a pipeline of CircleCI."""
    subject = f"https://circleci.com/api/v2/projects/{project}/pipeline-definitions/{definition}"
    return Identity("https://oidc.circleci.com", subject)


GITHUB: Final = {"kind": "GitHub", "repository": "Acme/widget", "workflow": "release.yml"}
GITLAB: Final = {
    "kind": "GitLab",
    "repository": "acme/tools/widget",
    "workflow_filepath": ".gitlab-ci.yml",
}
GOOGLE: Final = {"kind": "Google", "email": "release@acme.iam.gserviceaccount.com"}
CIRCLECI: Final = {"kind": "CircleCI", "project_id": "p1", "pipeline_definition_id": "d1"}
"""The publishers of those who sign, as a provenance names them."""


def provenance_of(*bundles: tuple[Mapping[str, Any], Mapping[str, Any]]) -> bytes:
    """Return a provenance with an attestation for each publisher."""
    described = [
        {"publisher": publisher, "attestations": [attestation]}
        for publisher, attestation in bundles
    ]
    return json.dumps({"version": 1, "attestation_bundles": described}).encode()


class Authority:
    """The three services, with keys that are made on the spot."""

    def __init__(self, name: str = "sigstore.invalid") -> None:
        self._name = name
        self._root_key = ec.generate_private_key(ec.SECP384R1())
        self._ca_key = ec.generate_private_key(ec.SECP384R1())
        self._promise_key = ec.generate_private_key(ec.SECP256R1())
        self._log_key = ec.generate_private_key(ec.SECP256R1())
        self._root = self._authority("root", self._root_key, None)
        self._ca = self._authority("intermediate", self._ca_key, self._root)

    def _authority(
        self, name: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None
    ) -> x509.Certificate:
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, self._name),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        signer, depth = (key, 1) if issuer is None else (self._root_key, 0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGINNING)
            .not_valid_after(_END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=depth), critical=True)
            .add_extension(_usage(is_authority=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        if issuer is not None:
            signing = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
            builder = builder.add_extension(signing, critical=False)
        return builder.sign(signer, hashes.SHA384())

    @property
    def trusted_root(self) -> str:
        """The text of the `trusted_root.json` of these services."""
        chain = [{"rawBytes": _base64(_der(each))} for each in (self._ca, self._root)]
        since = {"start": f"{_BEGINNING:%Y-%m-%dT%H:%M:%SZ}"}
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [_log(f"https://rekor.{self._name}", self._log_key)],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": self._name, "commonName": "root"},
                        "uri": f"https://fulcio.{self._name}",
                        "certChain": {"certificates": chain},
                        "validFor": since,
                    }
                ],
                "ctlogs": [_log(f"https://ctfe.{self._name}", self._promise_key)],
                "timestampAuthorities": [],
            }
        )

    def attest(
        self,
        filename: str,
        sha256: str,
        identity: Identity | None = None,
        predicate_type: str = PUBLISH,
        subjects: Sequence[Mapping[str, Any]] | None = None,
        *,
        logged_after: timedelta = timedelta(0),
        changes: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Return what a client sends: an attestation of a file, with changes of its statement."""
        at = SIGNED_AT - logged_after
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(identity or github(), key.public_key(), at)
        statement = json.dumps(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": subjects or [{"name": filename, "digest": {"sha256": sha256}}],
                "predicateType": predicate_type,
                "predicate": None if predicate_type == PUBLISH else {},
                **changes,
            }
        ).encode()
        kind = PAYLOAD_TYPE.encode()
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(statement), statement)
        signature = key.sign(signed, _SHA256)
        entry = self._log_entry(certificate, statement, signature, at + logged_after)
        return {
            "version": 1,
            "verification_material": {
                "certificate": _base64(_der(certificate)),
                "transparency_entries": [entry],
            },
            "envelope": {"statement": _base64(statement), "signature": _base64(signature)},
        }

    def _certificate(
        self, identity: Identity, key: ec.EllipticCurvePublicKey, at: datetime
    ) -> x509.Certificate:
        subject: x509.GeneralName = x509.RFC822Name(identity.subject)
        if "//" in identity.subject:
            subject = x509.UniformResourceIdentifier(identity.subject)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._ca.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(at)
            .not_valid_after(at + TEN_MINUTES)
            .add_extension(_usage(is_authority=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName([subject]), critical=True)
            .add_extension(_claim(1, identity.issuer.encode()), critical=False)
            .add_extension(_claim(8, _der_text(identity.issuer)), critical=False)
        )
        for number, text in sorted(identity.claims.items()):
            builder = builder.add_extension(_claim(number, _der_text(text)), critical=False)
        # the log promises the certificate as it is without the promise: so it is signed twice
        draft = builder.sign(self._ca_key, hashes.SHA384())
        promise = _octets(self._promise(draft.tbs_certificate_bytes, at))
        embedded = x509.UnrecognizedExtension(_PROMISES, promise)
        return builder.add_extension(embedded, critical=False).sign(self._ca_key, hashes.SHA384())

    def _promise(self, certificate: bytes, at: datetime) -> bytes:
        """Return the list with the promise of the log of certificates (RFC 6962)."""
        moment = int(at.timestamp() * 1000)
        issuer = hashlib.sha256(_key_bytes(self._ca_key)).digest()
        entry = issuer + len(certificate).to_bytes(3, "big") + certificate
        head, tail = struct.pack("!BBQH", 0, 0, moment, 1), struct.pack("!H", 0)
        signature = self._promise_key.sign(head + entry + tail, _SHA256)
        log = hashlib.sha256(_key_bytes(self._promise_key)).digest()
        promise = struct.pack("!B32sQH", 0, log, moment, 0)
        promise += struct.pack("!BBH", 4, 3, len(signature)) + signature
        return struct.pack("!HH", len(promise) + 2, len(promise)) + promise

    def _log_entry(
        self, certificate: x509.Certificate, payload: bytes, signature: bytes, at: datetime
    ) -> dict[str, Any]:
        """Return the entry of the log of signatures with its proof: the second leaf of two."""
        envelope = json.dumps(
            {
                "payload": _base64(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": _base64(signature)}],
            }
        ).encode()
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        body = _canonical(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": _digest(envelope),
                    "payloadHash": _digest(payload),
                    "signatures": [{"signature": _base64(signature), "verifier": _base64(pem)}],
                },
            }
        )
        sibling, leaf = (hashlib.sha256(b"\0" + each).digest() for each in (b"another", body))
        root = hashlib.sha256(b"\1" + sibling + leaf).digest()
        log_id = hashlib.sha256(_key_bytes(self._log_key)).digest()
        origin = f"rekor.{self._name}"
        note = f"{origin} - 1\n2\n{_base64(root)}\n"
        mark = _base64(log_id[:4] + self._log_key.sign(note.encode(), _SHA256))
        seconds = int(at.timestamp())
        promised = {"body": _base64(body), "integratedTime": seconds, "logID": log_id.hex()}
        promise = self._log_key.sign(_canonical({**promised, "logIndex": 1}), _SHA256)
        return {
            "logIndex": "1",
            "logId": {"keyId": _base64(log_id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(seconds),
            "inclusionPromise": {"signedEntryTimestamp": _base64(promise)},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": _base64(root),
                "treeSize": "2",
                "hashes": [_base64(sibling)],
                "checkpoint": {"envelope": f"{note}\n\N{EM DASH} {origin} {mark}\n"},
            },
            "canonicalizedBody": _base64(body),
        }


def _log(url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    der = _key_bytes(key)
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": _base64(der),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": {"start": f"{_BEGINNING:%Y-%m-%dT%H:%M:%SZ}"},
        },
        "logId": {"keyId": _base64(hashlib.sha256(der).digest())},
    }


def _claim(number: int, value: bytes) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{_CLAIM}{number}"), value)


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form)


def _der_text(text: str) -> bytes:
    data = text.encode()
    return b"\x0c" + _der_length(len(data)) + data


def _octets(data: bytes) -> bytes:
    return b"\x04" + _der_length(len(data)) + data


def _der_length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    size = (length.bit_length() + 7) // 8
    return bytes([0x80 | size]) + length.to_bytes(size, "big")


def _digest(data: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _canonical(value: object) -> bytes:
    """Return what RFC 8785 says, for objects of ASCII texts and small integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
