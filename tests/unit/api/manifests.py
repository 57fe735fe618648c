"""Manifests that many tests start from."""

from typing import Any

from h9s._pb import apps_pb2, core_pb2
from h9s.api.codec import load_manifests
from h9s.api.defaults import set_defaults

POD = """
kind: Pod
metadata: {name: web-1, namespace: default, labels: {app: web}}
spec:
  containers:
  - name: web
    image: nginx:1.27
    ports: [{name: http, containerPort: 80}]
    env: [{name: GREETING, value: hello}]
    resources:
      limits: {cpu: 500m, memory: 64Mi}
"""

REPLICA_SET = """
kind: ReplicaSet
metadata: {name: web, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front}}
    spec:
      containers: [{name: web, image: nginx}]
"""

DEPLOYMENT = REPLICA_SET.replace("ReplicaSet", "Deployment")


def load(text: str) -> Any:
    """The one object of a text, as it is written."""
    (message,) = load_manifests(text)
    return message


def complete(text: str) -> Any:
    """The one object of a text with its defaults."""
    message = load(text)
    set_defaults(message)
    return message


def pod() -> core_pb2.Pod:
    message = complete(POD)
    assert isinstance(message, core_pb2.Pod)
    return message


def replica_set() -> apps_pb2.ReplicaSet:
    message = complete(REPLICA_SET)
    assert isinstance(message, apps_pb2.ReplicaSet)
    return message


def deployment() -> apps_pb2.Deployment:
    message = complete(DEPLOYMENT)
    assert isinstance(message, apps_pb2.Deployment)
    return message
