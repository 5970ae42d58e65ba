"""The only writer of the market: it orders commands into the log, makes them durable, applies, answers."""
