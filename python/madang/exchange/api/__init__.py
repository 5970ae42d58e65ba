"""The Alpaca v2 trading interface of a worker: decimal text in and out, never a float."""
