"""Run a worker's command with constants of other values: `patched.py MODULE:NAME=VALUE -- python -m cutover_app ...`.

A value is a Python literal. What another build of this program would be, as far as a row needs it.
"""

import ast
import runpy
import sys
from importlib import import_module

if __name__ == "__main__":
    end = sys.argv.index("--")
    for each in sys.argv[1:end]:
        place, _, value = each.partition("=")
        module, _, name = place.partition(":")
        assert hasattr(import_module(module), name), place
        setattr(import_module(module), name, ast.literal_eval(value))
    sys.argv = sys.argv[end + 3 :]
    runpy.run_module("cutover_app", run_name="__main__", alter_sys=True)
