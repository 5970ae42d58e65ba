"""Live connections move from one process to the next: frozen to plain data, sent, thawed.

`detach` takes a socket out of the event loop, `lane` carries packets and descriptors, `giver` and
`taker` are the two sides. Invariant: a connection is in one process at a time, and which one it is
hangs on a single event: that the taker's acknowledgement was accepted by the kernel.
"""
