"""Descriptions of releases as HTML, rendered in processes of their own that can be killed."""
