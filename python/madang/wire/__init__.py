"""Every byte format, sans-IO: bytes in, values out, and back. No clock, no socket, no loop."""
