"""`wheelyard promote`: lists a release of one index in another index, too."""

from collections.abc import Iterator

from click import Argument, Option

from wheelyard.api import promotion_operations
from wheelyard.cli import shared_options
from wheelyard.cli.command import cli_command
from wheelyard.cli.command_context import open_api
from wheelyard.cli.output import print_result, warn
from wheelyard.model.distribution_filename import parse_name, parse_version
from wheelyard.model.index_name import read_index_name


@cli_command(
    "promote",
    shared_options.PROJECT,
    Argument(["version"]),
    Option(
        ["--from", "index"],
        expose_value=False,
        callback=shared_options.keep_index_name,
        metavar="INDEX",
        help="The index that has the release.  [default: $WHEELYARD_INDEX, else main]",
    ),
    Option(
        ["--to", "target"],
        required=True,
        callback=shared_options.require_index_name,
        metavar="INDEX",
        help="The index that gets it, such as main.",
    ),
    Option(["--dry-run"], is_flag=True, help="Print what would be promoted, and promote nothing."),
    shared_options.JSON,
    shared_options.INDEX,
    examples=(
        "wheelyard promote acme-core 1.0 --from dev --to prod",
        "wheelyard promote acme-core 1.0 --to prod --server https://packages.acme.dev",
    ),
    page="promotion.md",
)
def promote_command(*, project: str, version: str, target: str, dry_run: bool) -> None:
    """
    List all files of VERSION of PROJECT in another index, too, without a copy of their bytes.

    What is there already stays as it is, so the command can be repeated: it adds files and
    attestations that came since. It warns of private requirements that the other index lacks.
    """
    name = parse_name(project)
    version_text = str(parse_version(version))
    api = open_api()
    release = f"{name} {version_text}"
    target_name = read_index_name(target)
    promoted = api.call(
        promotion_operations.promote,
        name,
        promotion_operations.ReleasePromotion(version_text, target, dry_run),
    )
    for warning in promoted.warnings:
        warn(warning)
    print_result(promoted, _promotion_lines(release, target_name, promoted, is_trial=dry_run))


def _promotion_lines(
    release: str,
    target_name: str,
    promoted: promotion_operations.PromotedRelease,
    *,
    is_trial: bool,
) -> Iterator[str]:
    would_be = "would be " if is_trial else ""
    for file in promoted.promoted:
        yield f"{release}: {would_be}promoted to {target_name}  {file.filename}"
    for file in promoted.present:
        yield f"{release}: already in {target_name}  {file.filename}"
    for filename in promoted.attested:
        yield f"{release}: its attestations {would_be or 'were '}added in {target_name}  {filename}"
