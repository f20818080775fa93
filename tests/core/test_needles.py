"""Which plaintexts are found, and where: enough is searched, and chance raises no alarm."""

import pytest

from cutover_app.core.needles import find


@pytest.mark.parametrize(
    ("text", "around", "found"),
    [
        ("01027182845", "x{}y", True),
        ("900718-1234567", "id{}z", True),
        ("01027182845", "9{}", False),
        ("01027182845", "{}4", False),
        ("27182845", "{}", True),
        ("27182845", "x{}", False),
        ("27182845", "x-{}.", True),
        ("secret-note-9", "a{}b", False),
        ("secret-note-9", "a {} b", True),
        ("1234", "{}", False),
    ],
)
def test_what_stands_beside_a_plaintext(text: str, around: str, found: bool) -> None:
    """A phone's number counts beside letters but not inside of a longer number; shorter ones only alone; PINs never."""
    pieces = [("$.x", around.format(text).encode())]

    assert bool(find([text], pieces)) is found
