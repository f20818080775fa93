"""What a worker serves over HTTP: whether it lives, whether it works, and its figures. No message, no row, no page."""
