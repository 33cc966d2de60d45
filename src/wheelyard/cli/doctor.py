"""`wheelyard doctor`: say why an install does not work from this machine."""

from pathlib import Path
from typing import Final

from click import Argument, Option
from msgspec.structs import replace

from wheelyard.cli.command import JSON, cli_command
from wheelyard.cli.output import print_line, print_result, printable
from wheelyard.doctor.client_settings import Machine
from wheelyard.doctor.examination import CheckOutcome, Finding, examination, shown
from wheelyard.model.decoding import escaped, redact_tokens
from wheelyard.model.distribution_filename import parse_name
from wheelyard.settings.load import process_environment
from wheelyard.wiring.stores import system_runtime

CHECK_WIDTH: Final = 10
OUTCOME_WIDTH: Final = 7


@cli_command(
    "doctor",
    Argument(["url"], required=False),
    Option(["--project"], metavar="NAME", default=""),
    JSON,
)
def doctor_command(url: str | None, project: str) -> int:
    """
    Say why an install does not work from this machine; what a token may do, for a publish.

    URL is the server's or its index's; without it, the index that pip or uv asks is examined. Each
    line is one check: of settings and credentials, the network, and the server. Nothing is changed,
    and no secret is printed. Exit 1 if a check failed.

    Options:
        --project: The project that does not work.

    Examples:
        wheelyard doctor
        wheelyard doctor https://packages.example.com/simple/
        wheelyard doctor https://packages.example.com --project acme-core

    Documentation: docs/troubleshooting.md
    """
    machine = Machine(process_environment(), Path.home(), Path.cwd())
    chosen = examination(url, parse_name(project) if project else "", machine, system_runtime())
    index = printable(shown(chosen.url))
    print_line(f"index: {escaped(index)} (of {escaped(chosen.source)})")
    findings = list[Finding]()
    for finding in chosen.run():
        text = printable(redact_tokens(finding.text))
        findings.append(replace(finding, text=text, advice=printable(finding.advice)))
        _print(findings[-1])
    print_result({"index": index, "checks": findings})
    return int(any(finding.outcome is CheckOutcome.FAILED for finding in findings))


def _print(finding: Finding) -> None:
    is_failed = finding.outcome is CheckOutcome.FAILED
    outcome = finding.outcome.upper() if is_failed else finding.outcome
    print_line(f"{outcome:{OUTCOME_WIDTH}}  {finding.check:{CHECK_WIDTH}}  {escaped(finding.text)}")
    if finding.advice:
        print_line(f"{'':{OUTCOME_WIDTH}}  {'':{CHECK_WIDTH}}  -> {escaped(finding.advice)}")
