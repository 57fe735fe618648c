"""Manifests as they are published for Kubernetes are read, complete and valid."""

from pathlib import Path

import pytest

from h9s.api.codec import load_manifests, to_yaml
from h9s.api.defaults import set_defaults
from h9s.api.kinds import KINDS, kind_of
from h9s.api.validation import validate_create
from h9s.errors import InvalidError

PUBLISHED = Path(__file__).parents[4] / "shared" / "manifests"

needs_published = pytest.mark.skipif(
    not PUBLISHED.is_dir(), reason=f"the published manifests are not at {PUBLISHED}"
)

#: Files of which h9s has every kind and field.
SUPPORTED = (
    "application/deployment-scale.yaml",
    "application/deployment-update.yaml",
    "application/deployment.yaml",
    "application/guestbook/frontend-deployment.yaml",
    "application/guestbook/redis-follower-deployment.yaml",
    "application/guestbook/redis-leader-deployment.yaml",
    "application/job/redis/redis-pod.yaml",
    "application/simple_deployment.yaml",
    "application/update_deployment.yaml",
    "controllers/frontend.yaml",
    "controllers/nginx-deployment.yaml",
    "controllers/replicaset.yaml",
    "pods/commands.yaml",
    "pods/inject/envars.yaml",
    "pods/pod-nginx.yaml",
    "pods/qos/qos-pod.yaml",
    "pods/resource/cpu-request-limit.yaml",
    "pods/resource/memory-request-limit.yaml",
    "pods/simple-pod.yaml",
    "service/access/backend-deployment.yaml",
    "service/load-balancer-example.yaml",
    "service/networking/run-my-nginx.yaml",
)
#: Read, but refused for a value: there are no service accounts whose name a variable could hold.
READ_ONLY = ("pods/inject/dapi-envars-pod.yaml",)


def assert_is_read_complete_and_valid(text: str) -> list[str]:
    """Also: what is written of it is read again. Returns the kinds."""
    kinds = []
    for message in load_manifests(text):
        if kind_of(message).namespaced:
            message.metadata.namespace = message.metadata.namespace or "default"
        set_defaults(message)
        assert validate_create(message) == []
        assert load_manifests(to_yaml(message)) == [message]
        kinds.append(kind_of(message).kind)
    return kinds


@needs_published
@pytest.mark.parametrize("name", SUPPORTED)
def test_a_published_manifest_is_accepted(name):
    assert assert_is_read_complete_and_valid((PUBLISHED / name).read_text())


def missing_kinds_and_fields(text: str) -> list[str]:
    """Why a text is not read; nothing else may be wrong with it."""
    try:
        load_manifests(text)
    except InvalidError as error:
        assert error.faults  # noqa: PT017 - most files are read: there is not always an error
        return [str(fault) for fault in error.faults]
    return []


@needs_published
def test_every_published_manifest_is_read_or_refused_for_kinds_and_fields_that_are_missing():
    read = []
    for path in sorted(PUBLISHED.rglob("*.yaml")):
        missing = missing_kinds_and_fields(path.read_text())
        assert all("unknown" in fault for fault in missing)
        if not missing:
            read.append(str(path.relative_to(PUBLISHED)))
    assert read == sorted(SUPPORTED + READ_ONLY)


EXAMPLES = {
    "a deployment with comments and a removed version in them": """
apiVersion: apps/v1 # before 1.9.0: apps/v1beta2
kind: Deployment
metadata:
  name: web-deployment
spec:
  selector:
    matchLabels:
      app.kubernetes.io/name: web
  replicas: 2 # two pods of the template
  template:
    metadata:
      labels:
        app.kubernetes.io/name: web
    spec:
      containers:
      - name: web
        image: "registry.example:5000/team/web:1.15"
        ports:
        - containerPort: 80
          name: http
        env:
        - name: GET_HOSTS_FROM
          value: "dns"
        resources:
          requests:
            cpu: 100m
            memory: 100Mi
...
""",
    "a flow style with trailing commas": """
---
{
  apiVersion: "apps/v1",
  kind: "ReplicaSet",
  metadata: { name: "web", },
  spec: {
    replicas: 3,
    selector: { matchLabels: { app: "web", }, },
    template: {
      metadata: { labels: { app: "web", }, },
      spec: { containers: [{ name: "web", image: "web:1", ports: [{ containerPort: 80, }], }], },
    },
  },
}
""",
    "a pod that asks for resources": """
apiVersion: v1
kind: Pod
metadata: {name: demo, namespace: cpu-example}
spec:
  containers:
  - name: demo
    image: stress
    resources:
      limits: {cpu: "1", memory: 200Mi}
      requests: {cpu: 0.5, memory: 100Mi}
    command: ["stress"]
    args: ["--vm", "1", "--vm-bytes", "150M"]
  restartPolicy: OnFailure
""",
    "a pod that knows itself": """
apiVersion: v1
kind: Pod
metadata:
  name: envars
  labels: {purpose: demonstrate}
spec:
  containers:
  - name: main
    image: busybox
    command: ["sh", "-c"]
    args:
    - while true; do
      printenv NODE_NAME POD_IP;
      sleep 10;
      done;
    env:
    - name: NODE_NAME
      valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
    - name: POD_IP
      valueFrom: {fieldRef: {fieldPath: status.podIP}}
    - name: PURPOSE
      valueFrom: {fieldRef: {fieldPath: "metadata.labels['purpose']"}}
  restartPolicy: Never
""",
    "two documents without apiVersion": """
kind: Namespace
metadata: {name: shop}
---
kind: Pod
metadata: {name: cart, namespace: shop}
spec: {containers: [{name: cart, image: cart}]}
""",
}


@pytest.mark.parametrize("title", EXAMPLES)
def test_a_manifest_in_the_style_of_published_ones_is_accepted(title):
    assert assert_is_read_complete_and_valid(EXAMPLES[title])


def test_the_examples_use_the_kinds_that_users_write():
    used = {kind_of(message).kind for text in EXAMPLES.values() for message in load_manifests(text)}
    assert {"Deployment", "ReplicaSet", "Pod", "Namespace"} <= used <= {kind.kind for kind in KINDS}
