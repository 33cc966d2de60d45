"""`wheelyard doctor`: say why an install or a publish does not work from this machine."""

from pathlib import Path
from typing import Final

import click
from msgspec.json import encode
from msgspec.structs import replace

from wheelyard.cli.help_text import examples
from wheelyard.cli.output import printable
from wheelyard.doctor.client_settings import Machine
from wheelyard.doctor.examination import CheckOutcome, Finding, examination, shown
from wheelyard.model.distribution_filename import parse_name
from wheelyard.model.text import escaped, redact_tokens
from wheelyard.settings.load import process_environment
from wheelyard.wiring.stores import system_runtime

CHECK_WIDTH: Final = 10
OUTCOME_WIDTH: Final = 7


@examples(
    "troubleshooting.md",
    "wheelyard doctor",
    "wheelyard doctor https://packages.example.com/simple/",
    "wheelyard doctor https://packages.example.com --project acme-core",
)
@click.command("doctor")
@click.argument("url", required=False)
@click.option("--project", metavar="NAME", default="", help="The project that does not work.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(url: str | None, project: str, *, as_json: bool) -> int:
    """
    Say why an install or a publish does not work from this machine.

    URL is the server's or its index's; without it, the index that pip or uv asks is examined. Each
    line is one check: of settings and credentials, the network, and the server. Nothing is changed,
    and no secret is printed. Exit 1 if a check failed.
    """
    machine = Machine(process_environment(), Path.home(), Path.cwd())
    chosen = examination(url, parse_name(project) if project else "", machine, system_runtime())
    index = printable(shown(chosen.url))
    if not as_json:
        click.echo(f"index: {escaped(index)} (of {escaped(chosen.source)})")
    findings = list[Finding]()
    for finding in chosen.run():
        text = printable(redact_tokens(finding.text))
        findings.append(replace(finding, text=text, advice=printable(finding.advice)))
        if not as_json:
            _print(findings[-1])
    if as_json:
        click.echo(encode({"index": index, "checks": findings}))
    return int(any(finding.outcome is CheckOutcome.FAILED for finding in findings))


def _print(finding: Finding) -> None:
    is_failed = finding.outcome is CheckOutcome.FAILED
    outcome = finding.outcome.upper() if is_failed else finding.outcome
    click.echo(f"{outcome:{OUTCOME_WIDTH}}  {finding.check:{CHECK_WIDTH}}  {escaped(finding.text)}")
    if finding.advice:
        click.echo(f"{'':{OUTCOME_WIDTH}}  {'':{CHECK_WIDTH}}  -> {escaped(finding.advice)}")
