"""Benchmarks: each runs Madang and its peers in one run, on the same work, and says what it left out."""
