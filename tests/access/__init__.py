"""Who may do what, cell by cell; and the attacks of the reference, row by row (README.md)."""
