"""The demo market: eight symbols, somebody to sign in as, seeded traders that keep it moving."""
