"""What several test folders share: ports, waits, real processes. Nothing here knows a test."""
