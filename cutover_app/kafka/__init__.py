"""Plain Kafka I/O: connection settings, topics, end offsets. No Faust here."""
