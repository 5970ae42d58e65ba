"""Simulated traders: strategies that know no clock and no network, and what runs them anywhere."""
