"""Processes: who runs, when it is restarted, which sockets it inherits.

Knows nothing of what the processes do.
"""
