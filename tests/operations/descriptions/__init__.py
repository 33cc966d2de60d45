"""Tests of the rendering of descriptions."""
