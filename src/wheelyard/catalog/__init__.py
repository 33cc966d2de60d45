"""The catalog: projects, distributions and credentials in a store; may raise Unavailable."""
