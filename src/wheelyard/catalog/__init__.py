"""The catalog: projects, files and credentials as documents in a store; may raise Unavailable."""
