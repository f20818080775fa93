#!/bin/sh
# The steps by which the image is made, in a file of their own: the Dockerfile runs them, and so does a test.
#
#   install.sh wheels LOCK WHEELS            fetch every locked wheel, each with its hash checked
#   install.sh project SOURCE WHEELS TARGET  build the project's wheel, and install it into a fresh virtual environment
#
# The second step reaches no network: what is installed are the wheels of the first one. Only what the worker needs gets
# into TARGET, no tools for development, no pip and no source tree. PYTHON names the interpreter.
set -eu

python=${PYTHON:-python3}
quiet="--disable-pip-version-check --no-input --quiet"

wheels() {
    "$python" -m venv "$2/.tools"
    # shellcheck disable=SC2086 # several words on purpose
    "$2/.tools/bin/python" -m pip $quiet wheel --require-hashes --no-deps --requirement "$1" --wheel-dir "$2"
}

project() {
    tools="$2/.tools/bin/python -m pip"
    # shellcheck disable=SC2086
    {
        $tools $quiet install --no-index --find-links "$2" --upgrade setuptools
        $tools $quiet wheel --no-index --no-deps --no-build-isolation "$1" --wheel-dir "$2"
        "$python" -m venv --without-pip "$3"
        $tools $quiet --python "$3/bin/python" install --no-index --find-links "$2" cutover
    }
}

step=$1
shift
case $step in
    wheels | project) "$step" "$@" ;;
    *) echo "install.sh: expected wheels or project, found $step" >&2; exit 2 ;;
esac
