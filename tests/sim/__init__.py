"""Seeded simulations: whole components over a world in which everything that may go wrong does."""
