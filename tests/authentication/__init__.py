"""Tests of `wheelyard.authentication`."""
