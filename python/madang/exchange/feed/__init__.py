"""The feed: a replica of the engine that turns it into books and trades for everybody."""
