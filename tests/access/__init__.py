"""Access control: a matrix of every decision, and the attacks listed in README.md."""
