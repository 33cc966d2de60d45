"""
The SBOM of the container image for one processor, in CycloneDX 1.6 as JSON.

It has the packages of Debian and of Python, and the file that each was installed from. Equal images
and times give equal bytes. Programs that look for vulnerabilities read the names of Debian's source
packages from the package URLs, as Syft writes them.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from email import message_from_bytes
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5
from zipfile import ZipFile

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from tools import debian

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


def wheelyard(version: str) -> Component:
    """Return wheelyard, which is built from the clone."""
    return _component(PackageURL("pypi", name="wheelyard", version=version), ["Apache-2.0"])


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


def document(subject: Component, parts: Iterable[Component], made: datetime) -> str:
    """
    Return the SBOM of an image of packages.

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
