"""The market: engine, durable log, venue, ledger, feed and the Alpaca v2 interface."""
