"""Messages, requests and leases between processes, behind small ports."""
