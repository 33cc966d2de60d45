"""Benchmarks of wheelyard, most of them beside another program in the same run; see README.md."""
