"""
Prints files with `${NAME}` replaced by environment variables.

    python3 deploy/render.py FILE...

Every name has to be set and not empty; otherwise nothing is printed, so that no incomplete file is
deployed. `$NAME` without braces, and `$${NAME}`, are left unchanged. Needs only Python 3.9, which
Cloud Shell and CI images have.
"""

import os
import re
import sys
from pathlib import Path

PLACEHOLDER = re.compile(r"(?<!\$)\$\{([A-Z][A-Z0-9_]*)\}")


def main(arguments: "list[str]") -> int:
    """Print the given files, filled in; return the exit status."""
    if not arguments or arguments[0].startswith("-"):
        print("usage: python3 deploy/render.py FILE...", file=sys.stderr)
        return 2
    try:
        texts = [Path(name).read_text(encoding="utf-8") for name in arguments]
    except (OSError, UnicodeDecodeError) as error:
        print(f"render.py: {error}", file=sys.stderr)
        return 1
    names = sorted({name for text in texts for name in PLACEHOLDER.findall(text)})
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        print(f"render.py: set {' and '.join(missing)} first, with export", file=sys.stderr)
        return 1
    for text in texts:
        filled = PLACEHOLDER.sub(lambda found: os.environ[found[1]], text)
        sys.stdout.buffer.write(filled.encode())  # UTF-8, independent of the locale
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
