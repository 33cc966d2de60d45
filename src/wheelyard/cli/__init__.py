"""One module a command: it parses arguments, prints, and exits. It decides nothing."""
