"""Where packages come from: each module reads one system's own layout, and yields candidates."""
