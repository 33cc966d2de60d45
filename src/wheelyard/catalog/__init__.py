"""What the index knows, as documents in a store. Whatever asks the store may raise Unavailable."""
