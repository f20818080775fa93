"""Every limit of the core, by name and with its unit (rule R12: limits are stated).

A limit that is reached is counted and shown, never silent. Settings of a contract that are limits themselves (the
largest record, for one) live in the contract; these are constants because changing one changes verdicts, and with them
a run.
"""

KEY_BYTES_MAX = 1024
"""Bytes of a match key in its canonical form; a record with a longer one is `unkeyed`."""

FINDINGS_MAX = 50
"""Findings of one verdict; one more says how many were left out."""

PATH_CHARS_MAX = 512
"""Characters of the path of one finding."""

SHOWN_CHARS_MAX = 256
"""Characters of one value, one reason or one key as shown in a verdict."""

CLOSEST_MAX = 32
"""Leftovers of one key, both sides together, that are paired closest first; above it by order (R6.2)."""

ORDERED_MAX = 1000
"""Records of one order key, both sides together, whose order is judged (R12); beyond it none of them is."""

CROWDED_MAX = 1000
"""Records of one match key, both sides together, up to which it is decided at the end of each chunk; beyond it only at
barriers and checkpoints."""

TURN_KEYS = 100
"""Keys that a barrier closes or decides in one go, before others have their turn: where all pairs differ, some 50 ms.
One that closes more gives up the memory of each key as it goes."""

CLOSED_MAX = 20_000
"""Records of a side, undecided so far, that a barrier closes, for each second of the barrier interval. Where a frontier
has stood still and leaps, millions may be due at once, and what one barrier decides has to fit into one transaction."""

KEY_RECORDS_MAX = 50_000
"""Records of one match key, both sides together, that are paired (R12). What comes beyond them while they are
remembered is indeterminate: its partner may be one of those that are not paired any more."""

ROW_BYTES_MAX = 14 * 1024 * 1024
"""Bytes that the row of one match key may come to, names of families apart; it has to fit into the largest record of
our topics. What comes beyond them is treated like what comes beyond KEY_RECORDS_MAX."""

ROW_FAMILIES_MAX = 256
"""Families that one match key may be in; findings under further paths are counted as one family of their kind."""

RECORD_BYTES = 256
"""Bytes that one record counts for in the row of its key, with its verdict, and without what travels beside it."""

ENTRY_BYTES_MAX = 15 * 1024 * 1024
"""Bytes of one entry, its payload and what travels beside it; a message that would make a larger one is rejected. Alone
in its frame it fits into the largest record of our topics, which is of 16 MiB."""

FRAME_BYTES_MAX = 256 * 1024
"""Bytes of entries after which a frame is cut; a larger single entry travels alone."""

FRAME_ENTRIES_MAX = 1 << 20
"""Entries of one frame: the low bits of an intake position."""

RING_MAX = 1024
"""Barriers whose judge time is remembered (R1.2); when full, the older half is thinned to every second one."""

SENDERS_MAX = 256
"""Stage-one senders whose arrivals are counted (R2); beyond it the one heard longest ago is dropped."""

REJECTS_MAX = 256
"""Undecodable positions per side that are remembered to explain a lonely partner (R11)."""

LISTED_MAX = 8
"""Undecodable positions listed in one verdict."""

EDGES_MAX = 1024
"""Lost ranges kept per intake partition (R8)."""

IMBALANCES_MAX = 16
"""Lines of evidence kept about books that do not balance (R2)."""

BUCKET_KEYS_MAX = 4096
"""Match keys in one bucket of the queue of what is to be forgotten (R7)."""

FAMILIES_MAX = 4096
"""Families of an intake partition from which on findings under new paths are counted as one family of their kind. The
last verdict before may bring some more."""

SAMPLES_MAX = 5
"""Verdict ids kept as samples of a family."""

SEALED_BYTES_MIN = 28
"""Bytes of a ciphertext that is told from plain data: nonce and tag of AES-GCM; fewer may be an encoded identifier."""

SEALED_BYTES_LOOKED_AT = 4096
"""Bytes at the beginning of a value that are weighed; the rest of it follows."""

NEEDLE_BITS_ANYWHERE = 56
"""Bits that the plaintext of a sealed value must say to count wherever it stands in a record (`needles.py`)."""

NEEDLE_BITS_TOKEN = 24
"""Bits that it must say to be searched at all; up to the other limit, where no letter or digit stands beside it."""

NEEDLE_NUMBER_DIGITS = 11
"""Digits of a number, a phone's for one, from which on letters beside it do not matter, other digits do."""

NEEDLE_CHARS_MAX = 4096
"""Characters of a plaintext that are searched for; whatever contains more of it contains these."""
