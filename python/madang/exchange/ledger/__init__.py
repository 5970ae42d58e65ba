"""The ledger: a replica of the engine that answers queries and writes history to SQL."""
