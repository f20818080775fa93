"""Run a worker's command with chunks of another size: `chunked.py RECORDS python -m cutover_app worker ...`."""

import runpy
import sys

from cutover_app.runtime import transport

if __name__ == "__main__":
    transport.CHUNK_RECORDS_MAX = int(sys.argv[1])  # type: ignore[misc]
    sys.argv = sys.argv[4:]
    runpy.run_module("cutover_app", run_name="__main__", alter_sys=True)
