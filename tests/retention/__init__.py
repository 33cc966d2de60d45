"""Tests of rules of retention."""
