"""The tests of wheelyard; the folders follow those of `src/wheelyard`."""
