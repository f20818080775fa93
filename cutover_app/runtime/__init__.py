"""The Faust edge: what carries records to the core and its effects back to Kafka."""
