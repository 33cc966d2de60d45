"""Tests of `wheelyard doctor`."""
