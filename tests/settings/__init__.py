"""Settings: the ways in which one can be given, what is refused, and what is advised."""
