"""The only writer of the market: orders commands, makes them durable, applies, answers."""
