"""Pure decisions about a mirror: how far it is, what that proves, and what it does to headers. No I/O, no clock."""
