"""Tests of sources that are reached by HTTP, against servers on real ports."""
