"""Has the wall clock of a Python process jump: by the seconds that a file says at the moment, looked at often."""

import os
import sys
import time
from pathlib import Path

_FILE = Path(os.environ["JUMPING_CLOCK"])
_LOOK_S = 0.05
_real, _real_ns, _monotonic = time.time, time.time_ns, time.monotonic
_state = [0.0, -1.0]


def _offset() -> float:
    now = _monotonic()
    if now - _state[1] > _LOOK_S:
        offset = float(_FILE.read_text() or 0)
        if offset != _state[0]:
            sys.__stderr__.write(f"the clock jumps: {offset:g} s off\n")
        _state[:] = offset, now
    return _state[0]


def _time() -> float:
    return _real() + _offset()


def _time_ns() -> int:
    return _real_ns() + int(_offset() * 1e9)


time.time, time.time_ns = _time, _time_ns
