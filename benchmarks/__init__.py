"""Figures of wheelyard beside pypiserver's, taken in the same run; see README.md here."""
