"""Between the howbelet's terms and the engine's: what to create, and what an inspection says. Pure."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from typing import Any

from h9s.kubelet.docker import labels
from h9s.kubelet.observed import (
    CANNOT_RUN,
    COMPLETED,
    ERROR,
    OOM_KILLED,
    ObservedContainer,
    ObservedSandbox,
    State,
)
from h9s.kubelet.runtime import ContainerConfig, LogOptions, RuntimeInfo, SandboxConfig

#: Of one container on disk, as Kubernetes rotates it.
_LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
_NO_LOG = {"Type": "none", "Config": {}}

_CPU_PERIOD_MICROSECONDS = 100_000
_MINIMUM_CPU_QUOTA_MICROSECONDS = 1_000
_MINIMUM_CPU_SHARES = 2
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def sandbox_body(config: SandboxConfig, *, owner: labels.Owner, image: str) -> dict[str, Any]:
    """The engine's request to create a sandbox."""
    ports = {f"{port.container_port}/{port.protocol.lower()}" for port in config.ports}
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in config.ports:
        key = f"{port.container_port}/{port.protocol.lower()}"
        bindings.setdefault(key, []).append({"HostIp": port.host_ip, "HostPort": str(port.host_port)})
    return {
        "Image": image,
        "Hostname": config.hostname,
        "Labels": owner.of_sandbox(config),
        "User": "65534:65534",
        "StopSignal": "SIGKILL",
        "ExposedPorts": {port: {} for port in sorted(ports)},
        "HostConfig": {
            "NetworkMode": "bridge",
            "IpcMode": "shareable",
            "PortBindings": bindings,
            "LogConfig": _NO_LOG,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            # The program does nothing but sleep; compiling a filter for it would only cost time.
            "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
        },
    }


def container_body(config: ContainerConfig, *, owner: labels.Owner) -> dict[str, Any]:
    """The engine's request to create a container."""
    network = f"container:{config.sandbox_id}"
    host_config: dict[str, Any] = {
        "NetworkMode": network,
        "IpcMode": network,
        "LogConfig": _LOG_CONFIG,
        "CpuShares": max(config.cpu_request_millis * 1024 // 1000, _MINIMUM_CPU_SHARES),
    }
    if config.cpu_limit_millis:
        quota = config.cpu_limit_millis * _CPU_PERIOD_MICROSECONDS // 1000
        host_config["CpuPeriod"] = _CPU_PERIOD_MICROSECONDS
        host_config["CpuQuota"] = max(quota, _MINIMUM_CPU_QUOTA_MICROSECONDS)
    if config.memory_limit_bytes:
        # The same for memory and swap together: the limit is not to be dodged by swapping.
        host_config["Memory"] = host_config["MemorySwap"] = config.memory_limit_bytes
    body: dict[str, Any] = {
        "Image": config.image,
        "Labels": owner.of_container(config),
        "Env": [f"{name}={value}" for name, value in config.env],
        "OpenStdin": config.stdin,
        "Tty": config.tty,
        # Pods have probes of their own; the image's are not run.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host_config,
    }
    if config.command:
        body["Entrypoint"] = list(config.command)
    if config.args:
        body["Cmd"] = list(config.args)
    if config.working_dir:
        body["WorkingDir"] = config.working_dir
    return body


def observed_sandbox(inspected: Mapping[str, Any]) -> ObservedSandbox:
    """A sandbox, from its inspection."""
    state = inspected["State"]
    networks = inspected["NetworkSettings"].get("Networks") or {}
    addresses = [network.get("IPAddress") for network in networks.values()]
    return ObservedSandbox(
        id=inspected["Id"],
        attempt=_number(inspected, labels.ATTEMPT),
        ready=state["Status"] == "running",
        address=next((address for address in addresses if address), ""),
        created_at=seconds(inspected["Created"]) or 0.0,
    )


def observed_container(inspected: Mapping[str, Any]) -> ObservedContainer:
    """A container, from its inspection."""
    known, state = inspected["Config"]["Labels"], inspected["State"]
    created_at = seconds(inspected["Created"]) or 0.0
    where = _state(state)
    common: dict[str, Any] = {
        "id": inspected["Id"],
        "name": known[labels.CONTAINER],
        "attempt": _number(inspected, labels.ATTEMPT),
        "state": where,
        "sandbox_id": known.get(labels.SANDBOX_ID, ""),
        "image": inspected["Config"]["Image"],
        "image_id": inspected["Image"],
        "spec_hash": known.get(labels.SPEC_HASH, ""),
        "grace_seconds": int(known.get(labels.GRACE_SECONDS, "30")),
        "created_at": created_at,
    }
    if where is State.EXITED:
        common.update(_end(state, created_at))
    started_at = seconds(state["StartedAt"])
    return ObservedContainer(**common, started_at=started_at)


def _state(state: Mapping[str, Any]) -> State:
    if state["Status"] in ("running", "paused", "restarting"):
        return State.RUNNING
    if state["Status"] == "created" and not state["Error"] and not state["ExitCode"]:
        return State.CREATED
    return State.EXITED


def _end(state: Mapping[str, Any], created_at: float) -> dict[str, Any]:
    code = state["ExitCode"]
    if state["Status"] == "created":
        reason = CANNOT_RUN
    elif state["OOMKilled"]:
        reason = OOM_KILLED
    else:
        reason = ERROR if code else COMPLETED
    return {
        "exit_code": code,
        "reason": reason,
        "message": state["Error"],
        "finished_at": seconds(state["FinishedAt"]) or created_at,
    }


def event_filters(label_filters: list[str], names: tuple[str, ...]) -> str:
    """The filters of an events request, for containers alone."""
    return json.dumps({"type": ["container"], "label": label_filters, "event": list(names)})


def log_query(options: LogOptions) -> dict[str, str]:
    """The query of a logs request."""
    query = {
        "stdout": "1",
        "stderr": "1",
        "follow": str(int(options.follow)),
        "timestamps": str(int(options.timestamps)),
        "tail": "all" if options.tail_lines is None else str(options.tail_lines),
    }
    if options.since is not None:
        query["since"] = f"{options.since:.9f}"
    return query


def runtime_info(info: Mapping[str, Any]) -> RuntimeInfo:
    """What the engine says of its machine."""
    architecture = info["Architecture"]
    return RuntimeInfo(
        version=f"docker://{info['ServerVersion']}",
        cpu_millis=info["NCPU"] * 1000,
        memory_bytes=info["MemTotal"],
        kernel_version=info["KernelVersion"],
        os_image=info["OperatingSystem"],
        operating_system=info["OSType"],
        architecture=_ARCHITECTURES.get(architecture, architecture),
    )


def seconds(moment: str) -> float | None:
    """A time of the engine's ("2026-01-02T03:04:05.123456789Z") in seconds since 1970; None for its
    zero time, year 1."""
    whole, _, rest = moment.rstrip("Z").partition(".")
    parsed = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.UTC)
    if parsed.year == 1:
        return None
    return parsed.timestamp() + (float(f"0.{rest}") if rest else 0.0)


def _number(inspected: Mapping[str, Any], label: str) -> int:
    return int(inspected["Config"]["Labels"][label])
