"""The index as a static site: the same pages, written in an order that no crash can spoil."""
