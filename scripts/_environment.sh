# Sourced by the other scripts: makes sure of the virtual environment .venv at the root.
#
# ensure_environment runtime   h9s and what it needs to run
# ensure_environment dev       and what the checks and tests need
#
# A marker in .venv remembers what pyproject.toml looked like, so that the next call costs nothing.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

fail() {
  echo "error: $*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  fail "h9s needs Python 3.11 or newer; $(python3 --version 2>/dev/null || echo 'no python3') was found." \
    "Install it (Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv), or name one in PYTHON."
}

create_environment() {
  local python
  python=$(find_python) || exit 1
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv module: apt-get install python3-venv"
  echo "creating the virtual environment $venv ..." >&2
  "$python" -m venv "$venv" || fail "$python -m venv $venv failed"
}

ensure_environment() {
  local kind=$1 extra='' wanted marker log
  marker=$venv/.h9s-$kind
  wanted=$(sha256sum "$root/pyproject.toml" | cut -d' ' -f1)
  if [ "$(cat "$marker" 2>/dev/null)" = "$wanted" ] && [ -x "$venv/bin/python" ]; then
    return
  fi
  # A virtual environment that was moved or lost its interpreter is no use to anybody.
  if [ -e "$venv" ] && ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf "$venv"
  fi
  [ -e "$venv" ] || create_environment
  [ "$kind" = dev ] && extra='[dev]'
  echo "installing h9s$extra and what it needs into $venv ..." >&2
  log=$venv/install.log
  "$venv/bin/python" -m pip install --disable-pip-version-check --editable "$root$extra" >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    fail "pip could not install h9s; the whole log is $log"
  }
  echo "$wanted" >"$marker"
  # What the checks need includes what running needs.
  [ "$kind" = dev ] && echo "$wanted" >"$venv/.h9s-runtime"
  return 0
}

# Runs a module of this checkout, from any working directory.
run_module() {
  # Children are started with exec: gRPC need not prepare for a fork, nor say that it could not.
  GRPC_ENABLE_FORK_SUPPORT=0 PYTHONPATH=$root exec "$venv/bin/python" -P -m "$@"
}
