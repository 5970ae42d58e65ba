"""Benchmarks: Madang and its peers in one run, on the same work, saying what is left out."""
