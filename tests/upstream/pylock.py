"""A `pylock.toml`, as tools write it."""

HEAD = "lock-version = '1.0'\ncreated-by = 'a test'\n"


def locked(name: str, version: str, *digests: str) -> str:
    """Return the lines about a package with wheels of these digests."""
    stem = f"{name.replace('-', '_')}-{version}"
    wheels = (
        f"[[packages.wheels]]\npath = '{stem}-{build}-py3-none-any.whl'\n"
        f"hashes = {{ sha256 = '{digest}' }}\n"
        for build, digest in enumerate(digests)
    )
    return f"[[packages]]\nname = '{name}'\nversion = '{version}'\n{''.join(wheels)}"


def foreign(name: str) -> str:
    """Return the lines about a package of a repository."""
    url = f"https://git.example.com/{name}"
    return (
        f"[[packages]]\nname = '{name}'\nvcs = {{ type = 'git', url = '{url}', commit-id = '1' }}\n"
    )
