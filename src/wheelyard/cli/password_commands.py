"""`wheelyard password`: lines of the htpasswd file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from click import Option

from wheelyard.cli.command import cli_command
from wheelyard.cli.replaced_files import replace_file
from wheelyard.cli.shared_options import NAME
from wheelyard.cli.standard_streams import MAX_INPUT_BYTES
from wheelyard.errors import Conflict, Invalid, quoted
from wheelyard.model.decoding import escaped

NEW_FILE_MODE: Final = 0o640


@cli_command(
    "password",
    NAME,
    Option(
        ["--file"],
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write the line into this file, which is made if it is missing.",
    ),
    Option(
        ["--replace"],
        is_flag=True,
        help=(
            "Give NAME another password, if the file has one. Then the sessions and the "
            "tokens of NAME end. The old line would bring them back: revoke the tokens, too, "
            "or end the access of NAME."
        ),
    ),
    examples=(
        "wheelyard password ana --file /etc/wheelyard/htpasswd",
        "wheelyard password ana --file /etc/wheelyard/htpasswd --replace",
        "pass show ml-ci | wheelyard password ml-ci >> htpasswd",
    ),
    page="access.md",
)
def password_command(name: str, file: Path | None, *, replace: bool) -> None:
    """
    Make a line of an htpasswd file for NAME, with a password that is asked for twice.

    Where there is no terminal, the password is the first line of standard input. It has at least 8
    characters, and at most 72 bytes. Without --file the line is printed. A running server takes a
    changed file within 2 seconds.
    """
    # libpass takes a tenth of a second to load
    from wheelyard.authentication import passwords

    passwords.require_user_name(name)
    line_number = None
    if file is not None:
        line_number = passwords.line_number(_read_htpasswd(file), name)

    # refused before somebody types a password in vain
    if line_number is not None and not replace:
        raise Conflict(
            f"{quoted(name)} has a password already, on line {line_number} of "
            f"{escaped(str(file))}. With --replace it gets another one; then its sessions and "
            "tokens end."
        )

    def check_password(password: str) -> str:
        passwords.require_new_password(name, password)
        return password

    password = _ask_password(check_password)
    hashed = passwords.hash_password(password)
    if file is None:
        click.echo(f"{name}:{hashed}")
        return

    # read again, as somebody may have changed the file while the password was typed
    text = passwords.with_line(_read_htpasswd(file), name, hashed)
    replace_file(file, text.encode(), NEW_FILE_MODE, keeps_mode=True)
    outcome = "has another password" if line_number else "has a password now"
    click.echo(f"{escaped(name)} {outcome}, in {escaped(str(file))}.", err=True)


def _ask_password(check: Callable[[str], str]) -> str:
    """
    Return a password that passes the check, typed by a person or read from standard input.

    `check` returns the password, or raises Invalid. A person is asked again after that. Raises
    Invalid if standard input has no password, or one that does not pass.
    """
    if sys.stdin is not None and sys.stdin.isatty():

        def check_answer(text: str) -> str:
            try:
                return check(text)
            except Invalid as fault:
                # click tells the person, and asks again
                raise click.UsageError(fault.message) from None

        answer = click.prompt(
            "Password", hide_input=True, confirmation_prompt=True, value_proc=check_answer, err=True
        )
        return str(answer)
    line = b""
    if sys.stdin is not None:
        line = sys.stdin.buffer.readline(MAX_INPUT_BYTES)
    if not line:
        raise Invalid(
            "There is no password on standard input. Write one there, or use a terminal.",
            code="invalid_field",
        )

    # bytes that are no UTF-8 are kept, so that the check can refuse them with its own sentence
    text = line.decode("utf-8", "surrogateescape")
    return check(text.removesuffix("\n").removesuffix("\r"))


def _read_htpasswd(file: Path) -> str:
    """
    Return the text of an htpasswd file, or an empty text if the file is missing.

    Raises Invalid unless the text is UTF-8.
    """
    try:
        return file.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise Invalid(f"{escaped(str(file))} is not UTF-8.", code="bad_setting") from None
