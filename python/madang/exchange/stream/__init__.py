"""What a worker streams: an account's order events, and books and trades for pages."""
