"""What wheelyard promises, held by tests; the tree is that of `src/wheelyard`."""
