"""Releases: what `nox -s release` and `nox -s audit` do, and the workflows in `.github`."""
