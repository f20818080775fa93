"""The decisions of Cutover: no Faust, no Kafka, no clock, no I/O, nothing random."""
