"""Rules for pods and pod templates: containers, ports, environment, resources, restart policy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from h9s._pb import core_pb2
from h9s.api import names, pods, quantity
from h9s.api.kinds import suggestion
from h9s.api.validation_metadata import REQUIRED, Faults, condition_faults, enum_fault, label_faults
from h9s.errors import FieldFault, InvalidError

RESTART_POLICIES = ("Always", "OnFailure", "Never")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("TCP", "UDP")
#: What a container can ask for and be limited to.
CONTAINER_RESOURCES = ("cpu", "memory")


def pod_status_faults(pod: core_pb2.Pod) -> Faults:
    """Faults of a pod's status."""
    status = pod.status
    faults = condition_faults(status.conditions) if status.conditions else []
    if status.phase not in pods.PHASES:
        faults.append(FieldFault("status.phase", enum_fault(status.phase, pods.PHASES)))
    return faults


def pod_spec_faults(spec: core_pb2.PodSpec, path: str) -> Faults:
    """Faults of a pod's spec, or a template's, which stands at `path`."""
    faults: Faults = []
    if spec.restart_policy not in RESTART_POLICIES:
        faults.append(FieldFault(f"{path}.restartPolicy", enum_fault(spec.restart_policy, RESTART_POLICIES)))
    if spec.termination_grace_period_seconds < 0:
        faults.append(FieldFault(f"{path}.terminationGracePeriodSeconds", "must not be negative"))
    if spec.node_selector:
        faults += label_faults(spec.node_selector, f"{path}.nodeSelector")
    if spec.node_name and (message := names.dns_subdomain_fault(spec.node_name)):
        faults.append(FieldFault(f"{path}.nodeName", message))
    if spec.hostname and (message := names.dns_label_fault(spec.hostname)):
        faults.append(FieldFault(f"{path}.hostname", message))
    containers = spec.containers
    if not containers:
        faults.append(FieldFault(f"{path}.containers", "required: a pod has at least one container"))
    seen_names: set[str] = set()
    seen_host_ports: set[tuple[int, str, str]] = set()
    for index, container in enumerate(containers):
        container_path = f"{path}.containers[{index}]"
        faults += container_faults(container, container_path)
        if container.name in seen_names:
            faults.append(FieldFault(f"{container_path}.name", f"{container.name!r} is there twice"))
        seen_names.add(container.name)
        if container.ports:
            faults += _host_port_faults(container.ports, f"{container_path}.ports", seen_host_ports)
    return faults


def container_faults(container: core_pb2.Container, path: str) -> Faults:
    """Faults of one container."""
    faults: Faults = []
    if message := names.dns_label_fault(container.name) if container.name else REQUIRED:
        faults.append(FieldFault(f"{path}.name", message))
    image = container.image
    if not image or image != image.strip():
        faults.append(FieldFault(f"{path}.image", "has spaces around it" if image.strip() else REQUIRED))
    if container.image_pull_policy not in PULL_POLICIES:
        message = enum_fault(container.image_pull_policy, PULL_POLICIES)
        faults.append(FieldFault(f"{path}.imagePullPolicy", message))
    if container.ports:
        faults += _port_faults(container.ports, f"{path}.ports")
    for index, variable in enumerate(container.env):
        faults += _env_faults(variable, f"{path}.env[{index}]")
    if container.HasField("resources"):
        faults += _resource_faults(container.resources, f"{path}.resources")
    return faults


def _port_faults(ports: Iterable[core_pb2.ContainerPort], path: str) -> Faults:
    faults: Faults = []
    seen_names: set[str] = set()
    seen_ports: set[tuple[int, str, int, str]] = set()
    for index, port in enumerate(ports):
        port_path = f"{path}[{index}]"
        if not 1 <= port.container_port <= 65535:
            message = (
                f"{port.container_port} is no port: from 1 to 65535" if port.container_port else REQUIRED
            )
            faults.append(FieldFault(f"{port_path}.containerPort", message))
        if not 0 <= port.host_port <= 65535:
            faults.append(
                FieldFault(f"{port_path}.hostPort", f"{port.host_port} is no port: from 1 to 65535")
            )
        if port.host_ip and not _is_ip_address(port.host_ip):
            faults.append(FieldFault(f"{port_path}.hostIP", f"{port.host_ip!r} is not an IP address"))
        if port.protocol not in PROTOCOLS:
            faults.append(FieldFault(f"{port_path}.protocol", enum_fault(port.protocol, PROTOCOLS)))
        if port.name:
            if message := names.port_name_fault(port.name):
                faults.append(FieldFault(f"{port_path}.name", message))
            if port.name in seen_names:
                faults.append(FieldFault(f"{port_path}.name", f"{port.name!r} is there twice"))
            seen_names.add(port.name)
        identity = (port.container_port, port.protocol, port.host_port, port.host_ip)
        if identity in seen_ports:
            message = f"{port.container_port}/{port.protocol} is there twice"
            faults.append(FieldFault(f"{port_path}.containerPort", message))
        seen_ports.add(identity)
    return faults


def _host_port_faults(
    ports: Iterable[core_pb2.ContainerPort], path: str, seen: set[tuple[int, str, str]]
) -> Faults:
    """Ports of the host that are taken already by the pod's `seen` ones, to which these are added."""
    faults: Faults = []
    for index, port in enumerate(ports):
        if port.host_port:
            identity = (port.host_port, port.protocol, port.host_ip)
            if identity in seen:
                message = f"{port.host_port}/{port.protocol} is there twice in this pod"
                faults.append(FieldFault(f"{path}[{index}].hostPort", message))
            seen.add(identity)
    return faults


def _env_faults(variable: core_pb2.EnvVar, path: str) -> Faults:
    faults: Faults = []
    if message := names.env_name_fault(variable.name) if variable.name else REQUIRED:
        faults.append(FieldFault(f"{path}.name", message))
    if not variable.HasField("value_from"):
        return faults
    if variable.value:
        faults.append(FieldFault(f"{path}.valueFrom", "cannot be given together with a value"))
    if not variable.value_from.HasField("field_ref"):
        faults.append(FieldFault(f"{path}.valueFrom.fieldRef", REQUIRED))
        return faults
    field_ref = variable.value_from.field_ref
    if field_ref.api_version != "v1":
        message = enum_fault(field_ref.api_version, ("v1",))
        faults.append(FieldFault(f"{path}.valueFrom.fieldRef.apiVersion", message))
    if not pods.is_field_path(field_ref.field_path):
        message = enum_fault(field_ref.field_path, pods.FIELD_PATHS)
        hint = suggestion(field_ref.field_path, pods.FIELD_PATHS)
        faults.append(FieldFault(f"{path}.valueFrom.fieldRef.fieldPath", message + hint))
    return faults


def _resource_faults(resources: core_pb2.ResourceRequirements, path: str) -> Faults:
    limits, requests = resources.limits, resources.requests
    faults = quantity_faults(limits, f"{path}.limits", CONTAINER_RESOURCES)
    faults += quantity_faults(requests, f"{path}.requests", CONTAINER_RESOURCES, but=limits)
    if faults:
        return faults
    for name, request in requests.items():
        limit = limits.get(name)
        if limit is not None and limit != request and quantity.parse(request) > quantity.parse(limit):
            message = f"{request} is more than the limit, {limit}"
            faults.append(FieldFault(f"{path}.requests[{name}]", message))
    return faults


def quantity_faults(
    amounts: Mapping[str, str],
    path: str,
    known: tuple[str, ...] = (),
    *,
    but: Mapping[str, str] | None = None,
) -> Faults:
    """Faults of quantities by resource name: all from 0 up, and of the known resources, if told them.
    What is the same in `but`, where defaults are copied from, is judged there."""
    faults: Faults = []
    for name, amount in amounts.items():
        if but is not None and but.get(name) == amount:
            continue
        if known:
            message = enum_fault(name, known) and f"unknown resource: h9s knows {' and '.join(known)}"
        else:
            message = names.label_key_fault(name)
        if not message:
            try:
                message = "must not be negative" if quantity.parse(amount) < 0 else ""
            except InvalidError as error:
                message = error.message
        if message:
            faults.append(FieldFault(f"{path}[{name}]", message))
    return faults


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def pod_spec_update_faults(new: core_pb2.PodSpec, old: core_pb2.PodSpec) -> Faults:
    """A pod's spec stays as it is, but for its containers' images, and its node until it has one."""
    if new == old:
        return []
    faults: Faults = []
    expected = core_pb2.PodSpec()
    expected.CopyFrom(old)
    if new.node_name != old.node_name:
        if old.node_name:
            message = f"cannot be changed: the pod is bound to {old.node_name!r}"
            faults.append(FieldFault("spec.nodeName", message))
        expected.node_name = new.node_name
    for container, changed in zip(expected.containers, new.containers, strict=False):
        container.image = changed.image
    for field in new.DESCRIPTOR.fields:
        if getattr(new, field.name) != getattr(expected, field.name):
            message = "cannot be changed in an existing pod (only its containers' images can)"
            faults.append(FieldFault(f"spec.{field.json_name}", message))
    return faults
