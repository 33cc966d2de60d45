"""
The SBOM of the wheel, in CycloneDX: `python -m tools.sbom WHEEL OUTPUT.json`.

It has every dependency that `requirements/otel.txt` locks, which is the lock with all extras, on
every system. `cyclonedx-py` reads their metadata from an environment; the rest is added here: the
digests of the lock, what only an extra needs, and the digest of the wheel. The same commit gives
the same bytes: the serial number is made from the content, the time is that of the commit.
"""

import hashlib
import json
import re
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, Final

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name, parse_wheel_filename

from tools.lock_files import read_lock
from tools.programs import run

ROOT: Final = Path(__file__).resolve().parents[1]
ALL: Final = ROOT / "requirements" / "otel.txt"
REQUIRED: Final = ROOT / "requirements" / "run.txt"
FORMAT: Final = SchemaVersion.V1_6
"""One before the newest, as not every program reads that."""
MARKER: Final = re.compile(r" ; [^\\\n]*(?= \\$)", re.MULTILINE)
LICENCES: Final = {"protobuf": "BSD-3-Clause"}
"""The licences of those that have it in a file, but do not say in their metadata which it is."""


def sbom(wheel: Path, commit_time: str) -> dict[str, Any]:
    """Return the document, without its serial number."""
    document = _read_environment(commit_time)
    packages = {package.name: package for package in read_lock(ALL)}
    required = {package.name for package in read_lock(REQUIRED)}
    for component in document["components"]:
        name = canonicalize_name(component["name"])
        digests = packages.pop(name).digests
        component["scope"] = "required" if name in required else "optional"
        component.setdefault("licenses", []).extend(_missing_licence(component))
        component.setdefault("externalReferences", []).append(
            {
                "type": "distribution",
                "url": component["purl"],
                "comment": "The locked files of this version, on whichever index.",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in digests],
            }
        )
    if packages:
        sys.exit(f"these packages are in {ALL.name}, and not in the SBOM: {sorted(packages)}")
    _, version, *_ = parse_wheel_filename(wheel.name)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    document["metadata"]["component"] |= {
        "purl": f"pkg:pypi/wheelyard@{version}",
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }
    return document


def _missing_licence(component: dict[str, Any]) -> list[dict[str, Any]]:
    if component.get("licenses"):
        return []
    return [{"license": {"id": LICENCES[component["name"]], "acknowledgement": "concluded"}}]


def _read_environment(commit_time: str) -> dict[str, Any]:
    """
    Return what `cyclonedx-py` says of an environment with everything that is locked.

    Also with what is only for another system or another Python, so that each of them gives the
    same document.
    """
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock.txt"
        lock.write_text(MARKER.sub("", ALL.read_text(encoding="utf-8")), encoding="utf-8")
        python = Path(folder) / "environment" / "bin" / "python"
        uv = (sys.executable, "-m", "uv")
        only = ("--no-deps", "--require-hashes", "-r", lock)
        tool = (sys.executable, "-m", "cyclonedx_py", "environment", python)
        options = ("--output-reproducible", "--no-validate", "--sv", FORMAT.to_version())
        files = ("--pyproject", ROOT / "pyproject.toml", "--output-file", f"{folder}/sbom.json")
        run(*uv, "venv", "--quiet", "--python", sys.executable, python.parent.parent, cwd=ROOT)
        run(*uv, "pip", "install", "--quiet", "--python", python, *only, cwd=ROOT)
        run(*tool, *options, *files, cwd=ROOT, SOURCE_DATE_EPOCH=commit_time)
        document: dict[str, Any] = json.loads(Path(folder, "sbom.json").read_bytes())
        return document


def text(document: dict[str, Any]) -> str:
    """Return the file: the document with a serial number that its content decides."""
    content = json.dumps(document, sort_keys=True)
    number = uuid.uuid5(uuid.NAMESPACE_URL, content).urn
    whole = document | {"serialNumber": number}
    problem = JsonStrictValidator(FORMAT).validate_str(json.dumps(whole))
    if problem is not None:
        sys.exit(f"the SBOM does not match the schema of CycloneDX: {problem}")
    return json.dumps(whole, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write the SBOM of a wheel."""
    wheel, output = map(Path, sys.argv[1:])
    commit_time = run("git", "show", "--no-patch", "--format=%ct", "HEAD", cwd=ROOT)
    output.write_text(text(sbom(wheel, commit_time)), encoding="utf-8")


if __name__ == "__main__":
    main()
