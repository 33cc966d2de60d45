"""`python -m wheelyard`."""

from wheelyard.cli.main import main

if __name__ == "__main__":
    main()
