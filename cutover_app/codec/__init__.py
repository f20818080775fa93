"""From the bytes of a record to a message, one module per format."""
