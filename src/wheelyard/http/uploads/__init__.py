"""The upload request: its handler, and the parser and the checks of its form."""
