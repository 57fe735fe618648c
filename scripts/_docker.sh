# Sourced by scripts/test: a Docker Engine for the tests, and the images that they run.
#
# provide_docker leaves a working engine behind, or says why there is none (docker_missing).
# release_docker stops the engine again if provide_docker started it.

docker_missing=''
dockerd_pid=''
dockerd_log=''

engine_answers() {
  "$venv/bin/python" - <<'PYTHON' 2>/dev/null
import docker
docker.from_env(timeout=5).ping()
PYTHON
}

install_docker() {
  grep -Eq '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release 2>/dev/null || {
    docker_missing="no Docker Engine answers, and this is neither Debian nor Ubuntu, where it could be installed"
    return 1
  }
  echo "installing docker.io ..." >&2
  local log
  log=$(mktemp)
  if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes docker.io iptables; } \
    >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    docker_missing="docker.io could not be installed"
    return 1
  fi
}

start_dockerd() {
  local options
  dockerd_log=$(mktemp)
  # Kernels without the netfilter modules can still bridge: containers are reached, only not NATed.
  for options in '' '--iptables=false --ip6tables=false'; do
    echo "starting dockerd $options ..." >&2
    # shellcheck disable=SC2086
    dockerd $options >"$dockerd_log" 2>&1 </dev/null &
    dockerd_pid=$!
    for _ in $(seq 60); do
      engine_answers && return
      kill -0 "$dockerd_pid" 2>/dev/null || break
      sleep 0.5
    done
    release_docker
  done
  tail -n 20 "$dockerd_log" >&2
  docker_missing="dockerd did not start; its log is $dockerd_log"
  return 1
}

provide_docker() {
  engine_answers && return
  if [ "$(id -u)" != 0 ]; then
    docker_missing="no Docker Engine answers this user, and only root may install and start one"
    return 1
  fi
  if ! command -v dockerd >/dev/null; then
    install_docker || return 1
    # Where systemd runs, the package has started the engine by itself.
    for _ in 1 2 3 4 5 6; do
      engine_answers && return
      sleep 0.5
    done
  fi
  start_dockerd
}

release_docker() {
  [ -n "$dockerd_pid" ] || return 0
  kill "$dockerd_pid" 2>/dev/null || true
  wait "$dockerd_pid" 2>/dev/null || true
  dockerd_pid=''
}
