"""What administrators see and do on the page `/cluster`: live state, history, logs, actions."""
