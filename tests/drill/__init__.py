"""Seeded faults on real processes, checked by what clients were told."""
