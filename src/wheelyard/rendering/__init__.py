"""Renders documents as bytes, for the server and for static exports; pure functions."""
