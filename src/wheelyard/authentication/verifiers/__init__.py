"""Is this credential or statement genuine? Each module verifies one kind, and decides no rights."""
