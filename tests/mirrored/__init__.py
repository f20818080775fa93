"""Legacy topics that live on another cluster: mirrored, and read directly. Two real brokers."""
