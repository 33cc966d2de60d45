"""
The SBOMs of a release, in CycloneDX 1.6 as JSON: of the wheel, and of the image for a processor.

That of the image has the packages of Debian and of Python, and the file that each was installed
from. Programs that look for vulnerabilities read the names of Debian's source packages from the
package URLs, as Syft writes them. That of the wheel (`python -m tools.sbom WHEEL OUTPUT.json`) has
every dependency that `requirements/otel.txt` locks, which is the lock with all extras, on every
system, with the digests of the lock. Equal contents and times give equal bytes.
"""

import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import NAMESPACE_URL, uuid5
from zipfile import ZipFile

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.utils import canonicalize_name, parse_wheel_filename

from tools import debian
from tools.lock_files import read_lock
from tools.programs import run

ROOT: Final = Path(__file__).resolve().parents[1]
ALL: Final = ROOT / "requirements" / "otel.txt"
REQUIRED: Final = ROOT / "requirements" / "run.txt"
MARKER: Final = re.compile(r" ; [^\\\n]*(?= \\$)", re.MULTILINE)
"""What a line of a lock is only for."""
RELEASE: Final = "13"
"""Of Debian."""
CLASSIFIER: Final = "License :: OSI Approved :: "


def image(name: str, version: str, processor: str, digest: str) -> Component:
    """Return the image itself, by the digest of its manifest."""
    purl = PackageURL(
        "oci",
        name=name.rpartition("/")[2],
        version=digest,
        qualifiers={"arch": processor, "repository_url": name},
    )
    return _component(purl, version=version, type_=ComponentType.CONTAINER)


def wheelyard(version: str, sha256: str = "") -> Component:
    """Return wheelyard, which is built from the clone, with the digest of its wheel."""
    purl = PackageURL("pypi", name="wheelyard", version=version)
    return _component(purl, ["Apache-2.0"], sha256)


def debian_packages(files: Iterable[Path], root: Path) -> Iterator[Component]:
    """Yield Debian, and the packages that were unpacked into a root folder."""
    yield Component(
        type=ComponentType.OPERATING_SYSTEM,
        name="debian",
        version=RELEASE,
        bom_ref=f"debian-{RELEASE}",
    )
    for file in files:
        fields = debian.control(file)
        qualifiers = {
            "arch": fields["Architecture"],
            "distro": f"debian-{RELEASE}",
            "upstream": _source(fields.get("Source", "")),
        }
        name = fields["Package"]
        purl = PackageURL("deb", "debian", name, fields["Version"], qualifiers)
        yield _component(purl, debian.licences(root, name), _sha256(file))


def python_packages(wheels: Iterable[Path]) -> Iterator[Component]:
    """Yield the packages of wheels."""
    for file in wheels:
        with ZipFile(file) as archive:
            (path,) = (
                name
                for name in archive.namelist()
                if name.count("/") == 1 and name.endswith(".dist-info/METADATA")
            )
            metadata = message_from_bytes(archive.read(path))
        expression = metadata["License-Expression"]
        classifiers = metadata.get_all("Classifier", [])
        names = [text.removeprefix(CLASSIFIER) for text in classifiers if CLASSIFIER in text]
        licence = (
            [expression] if expression else names or (metadata["License"] or "").split("\n")[:1]
        )
        purl = PackageURL("pypi", name=metadata["Name"], version=metadata["Version"])
        yield _component(purl, licence, _sha256(file))


def locked_packages() -> Iterator[Component]:
    """
    Yield the dependencies that the lock names, whatever system they are for.

    Their metadata are those of a wheel of each.

    Raises:
        ValueError: The wheels are not those of the lock.
    """
    locked = {package.name: package for package in read_lock(ALL)}
    required = {package.name for package in read_lock(REQUIRED)}
    with TemporaryDirectory() as folder:
        lock, wheels = Path(folder, "lock.txt"), Path(folder, "wheels")
        lock.write_text(MARKER.sub("", ALL.read_text(encoding="utf-8")), encoding="utf-8")
        only = ("--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:")
        download = (sys.executable, "-m", "pip", "download", *only, "--dest", wheels)
        run(*download, "--requirement", lock, cwd=ROOT)
        for component in python_packages(sorted(wheels.iterdir())):
            package = locked.pop(canonicalize_name(component.name))
            is_required = package.name in required
            component.scope = ComponentScope.REQUIRED if is_required else ComponentScope.OPTIONAL
            component.hashes = ()  # another system has another wheel
            component.external_references = [_files_of(component, package.digests)]
            yield component
    if locked:
        raise ValueError(f"There is no wheel of these packages: {sorted(locked)}")


def _files_of(component: Component, digests: Iterable[str]) -> ExternalReference:
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests]
    return ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(str(component.purl)),
        comment="The locked files of this version, on whichever index.",
        hashes=hashes,
    )


def document(subject: Component, parts: Iterable[Component], made: datetime) -> str:
    """
    Return the SBOM of something that is made of packages.

    Raises:
        ValueError: CycloneDX does not allow a value in it.
    """
    bom = Bom(
        components=parts,
        metadata=BomMetaData(component=subject, timestamp=made),
        serial_number=uuid5(NAMESPACE_URL, str(subject.purl)),
    )
    bom.register_dependency(subject, bom.components)
    text = f"{JsonV1Dot6(bom).output_as_string(indent=2)}\n"
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if errors:
        raise ValueError(f"The SBOM is not valid: {errors}")
    return text


def _component(
    purl: PackageURL,
    licences: Iterable[str] = (),
    sha256: str = "",
    version: str | None = None,
    type_: ComponentType = ComponentType.LIBRARY,
) -> Component:
    factory = LicenseFactory()
    names = [*filter(None, licences)]
    # several licences may not be expressions
    make = factory.make_from_string if len(names) == 1 else factory.make_with_name
    return Component(
        type=type_,
        name=purl.name,
        version=version or purl.version,
        purl=purl,
        bom_ref=str(purl),
        licenses=[make(name) for name in names],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else [],
    )


def _source(text: str) -> str:
    """Return a package URL's words for a source package, and its version if that is another."""
    return text.replace(" (", "@").rstrip(")")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def main() -> None:
    """Write the SBOM of a wheel."""
    wheel, output = map(Path, sys.argv[1:])
    _, version, *_ = parse_wheel_filename(wheel.name)
    subject = wheelyard(str(version), _sha256(wheel))
    commit_time = run("git", "show", "--no-patch", "--format=%ct", "HEAD", cwd=ROOT)
    made = datetime.fromtimestamp(int(commit_time), UTC)
    output.write_text(document(subject, locked_packages(), made), encoding="utf-8")


if __name__ == "__main__":
    main()
