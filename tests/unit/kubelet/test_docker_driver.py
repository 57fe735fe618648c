"""The Docker driver's pure parts; the rest is tested against an engine."""

import base64
import io
import json
import struct
import tarfile

import pytest

from h9s.clock import SystemClock
from h9s.errors import UnsupportedError, UsageError
from h9s.kubelet.docker import labels, pause, translate
from h9s.kubelet.docker.images import credentials, parse_reference
from h9s.kubelet.docker.runtime import DockerRuntime
from h9s.kubelet.docker.streams import StreamingEngine
from h9s.kubelet.observed import PodIdentity, State
from h9s.kubelet.runtime import (
    ContainerConfig,
    GoneError,
    LogOptions,
    PortMapping,
    RuntimeFailureError,
    SandboxConfig,
)

OWNER = labels.Owner("c1", "n1")
POD = PodIdentity("0123456789-uid", "default", "web")


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("nginx", ("docker.io", "nginx", "latest")),
        ("nginx:1.14.2", ("docker.io", "nginx", "1.14.2")),
        ("corelab/gb-frontend:v5", ("docker.io", "corelab/gb-frontend", "v5")),
        ("docker.io/redis:6.0.5", ("docker.io", "docker.io/redis", "6.0.5")),
        ("registry.k8s.io/e2e/app", ("registry.k8s.io", "registry.k8s.io/e2e/app", "latest")),
        ("localhost:5000/app:2", ("localhost:5000", "localhost:5000/app", "2")),
        ("localhost/app", ("localhost", "localhost/app", "latest")),
        ("app@sha256:abc", ("docker.io", "app", "sha256:abc")),
        ("r.io:5/app:1@sha256:abc", ("r.io:5", "r.io:5/app", "sha256:abc")),
    ],
)
def test_an_image_name_has_a_registry_a_repository_and_a_tag(image, parts):
    assert parse_reference(image) == parts


@pytest.fixture
def docker_login(tmp_path, monkeypatch):
    """Writes what `docker login` leaves behind."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(**config):
        (tmp_path / "config.json").write_text(json.dumps(config))

    return write


@pytest.mark.parametrize(
    ("key", "registry"), [("https://index.docker.io/v1/", "docker.io"), ("r.example:5000", "r.example:5000")]
)
def test_a_pull_carries_the_users_name_and_password(docker_login, key, registry):
    docker_login(auths={key: {"auth": base64.b64encode(b"me:secret").decode()}})
    header = credentials(registry)["X-Registry-Auth"]
    sent = json.loads(base64.urlsafe_b64decode(header))
    assert (sent["username"], sent["password"]) == ("me", "secret")
    assert credentials("elsewhere.example") == {}


@pytest.mark.filterwarnings("ignore:docker-credential-there-is-no-such-helper not installed")
def test_credentials_that_cannot_be_read_fail_the_pull_and_not_the_howbelet(docker_login):
    docker_login(credsStore="there-is-no-such-helper")
    with pytest.raises(RuntimeFailureError, match=r"the credentials for docker\.io cannot be read"):
        credentials("docker.io")


class ClearedEngine:
    """An engine from which somebody has removed the image of the sandboxes."""

    def __init__(self):
        self.operations: list[str] = []

    async def call(self, operation, _function):
        self.operations.append(operation)
        if operation == "info":
            return {
                "Architecture": "x86_64",
                "ServerVersion": "1",
                "NCPU": 1,
                "MemTotal": 1,
                "KernelVersion": "",
                "OperatingSystem": "",
                "OSType": "linux",
            }
        if operation == "create_sandbox" and "import_image" not in self.operations:
            raise GoneError("No such image: h9s/pause:1")
        if operation == "inspect_image":
            return {"Config": {"Labels": {pause.DIGEST_LABEL: pause.digest("x86_64")}}}
        return {"Id": "box"}

    async def connect(self):
        return "1.40"


async def test_the_image_of_the_sandboxes_is_made_again_when_it_was_cleared_away():
    engine = ClearedEngine()
    runtime = DockerRuntime(engine, owner=OWNER, clock=SystemClock())  # type: ignore[arg-type]
    await runtime.prepare()
    assert "import_image" not in engine.operations
    assert await runtime.create_sandbox(SandboxConfig(POD, 0, "web")) == "box"
    assert engine.operations[-4:] == ["create_sandbox", "import_image", "create_sandbox", "start_sandbox"]


@pytest.mark.parametrize(("architecture", "machine"), [("x86_64", 62), ("aarch64", 183), ("arm64", 183)])
def test_the_sandbox_program_is_a_static_executable_whose_entry_is_its_code(architecture, machine):
    program = pause.program(architecture)
    assert program[:5] == b"\x7fELF\x02"
    kind, found_machine, _, entry, header_offset = struct.unpack_from("<HHIQQ", program, 16)
    assert (kind, found_machine) == (2, machine)
    type_, flags, offset, address, _, in_file, in_memory, align = struct.unpack_from(
        "<IIQQQQQQ", program, header_offset
    )
    assert (type_, flags, offset, in_file, in_memory) == (1, 5, 0, len(program), len(program))
    assert address % align == offset % align
    assert entry - address == 64 + 56


def test_the_sandbox_image_holds_that_program_and_is_always_the_same():
    content = pause.archive("x86_64")
    assert content == pause.archive("amd64")
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        member = tar.getmember("pause")
        extracted = tar.extractfile(member)
        assert extracted is not None
        assert extracted.read() == pause.program("x86_64")
        assert member.mode == 0o755


def test_an_architecture_without_a_sandbox_program_is_named():
    with pytest.raises(UnsupportedError, match="s390x"):
        pause.program("s390x")


def test_a_container_joins_its_sandbox_and_has_its_limits():
    config = ContainerConfig(
        pod=POD,
        name="main",
        attempt=3,
        sandbox_id="box",
        image="app:1",
        image_id="sha256:1",
        command=("run",),
        env=(("A", "1"),),
        working_dir="/srv",
        cpu_limit_millis=1500,
        cpu_request_millis=250,
        memory_limit_bytes=64 << 20,
        spec_hash="h",
        grace_seconds=7,
    )
    body = translate.container_body(config, owner=OWNER)
    host = body["HostConfig"]
    assert host["NetworkMode"] == host["IpcMode"] == "container:box"
    assert (host["CpuPeriod"], host["CpuQuota"], host["CpuShares"]) == (100_000, 150_000, 256)
    assert host["Memory"] == host["MemorySwap"] == 64 << 20
    assert (body["Entrypoint"], body["Env"], body["WorkingDir"]) == (["run"], ["A=1"], "/srv")
    assert "Cmd" not in body
    assert body["Labels"] == {
        "h9s.cluster": "c1",
        "h9s.node": "n1",
        "h9s.role": "container",
        "h9s.pod.uid": POD.uid,
        "h9s.pod.namespace": "default",
        "h9s.pod.name": "web",
        "h9s.container": "main",
        "h9s.attempt": "3",
        "h9s.spec-hash": "h",
        "h9s.grace-seconds": "7",
        "h9s.sandbox-id": "box",
    }


def test_without_a_command_the_images_own_is_left_and_without_limits_there_are_none():
    config = ContainerConfig(
        pod=POD, name="main", attempt=0, sandbox_id="box", image="app:1", image_id="x", args=("--fast",)
    )
    body = translate.container_body(config, owner=OWNER)
    assert "Entrypoint" not in body
    assert body["Cmd"] == ["--fast"]
    assert not {"Memory", "CpuQuota"} & body["HostConfig"].keys()
    assert body["HostConfig"]["CpuShares"] == 2


def test_the_ports_of_the_machine_are_the_sandboxes():
    ports = (
        PortMapping(80, 8080, "", "TCP"),
        PortMapping(80, 8081, "127.0.0.1", "TCP"),
        PortMapping(53, 53, "", "UDP"),
    )
    body = translate.sandbox_body(SandboxConfig(POD, 0, "web", ports), owner=OWNER, image="p")
    assert body["HostConfig"]["PortBindings"] == {
        "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": "8081"}],
        "53/udp": [{"HostIp": "", "HostPort": "53"}],
    }
    assert body["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}}
    assert body["Hostname"] == "web"


def test_names_hold_the_attempt_so_that_a_repeated_creation_meets_the_first():
    assert labels.container_name(POD, "main", 2) == "h9s_main_web_default_01234567_2"
    assert labels.sandbox_name(POD, 0) == "h9s_POD_web_default_01234567_0"


def inspection(state, **labels_):
    return {
        "Id": "id",
        "Created": "2026-01-02T03:04:05.5Z",
        "Image": "sha256:1",
        "Config": {"Image": "app:1", "Labels": {"h9s.container": "main", "h9s.attempt": "1", **labels_}},
        "State": {
            "Status": "exited",
            "Error": "",
            "ExitCode": 0,
            "OOMKilled": False,
            "StartedAt": "2026-01-02T03:04:06Z",
            "FinishedAt": "2026-01-02T03:04:07.25Z",
            **state,
        },
    }


@pytest.mark.parametrize(
    ("state", "where", "reason"),
    [
        ({"Status": "running"}, State.RUNNING, ""),
        ({"Status": "paused"}, State.RUNNING, ""),
        ({"Status": "created"}, State.CREATED, ""),
        ({"Status": "created", "ExitCode": 127, "Error": "no such file"}, State.EXITED, "ContainerCannotRun"),
        ({"ExitCode": 0}, State.EXITED, "Completed"),
        ({"ExitCode": 3}, State.EXITED, "Error"),
        ({"ExitCode": 137, "OOMKilled": True}, State.EXITED, "OOMKilled"),
        ({"Status": "dead", "ExitCode": 1}, State.EXITED, "Error"),
    ],
)
def test_the_engines_states_are_ours(state, where, reason):
    observed = translate.observed_container(inspection(state))
    assert (observed.state, observed.reason) == (where, reason)
    assert observed.name == "main"
    assert observed.attempt == 1


def test_the_engines_times_are_seconds():
    assert translate.seconds("2026-01-02T03:04:05.500000000Z") == 1767323045.5
    assert translate.seconds("2026-01-02T03:04:05Z") == 1767323045.0
    assert translate.seconds("0001-01-01T00:00:00Z") is None


def test_the_engine_is_asked_for_the_part_of_the_log_that_is_wanted():
    query = translate.log_query(LogOptions(follow=True, tail_lines=5, since=1767323045.5))
    assert query == {
        "stdout": "1",
        "stderr": "1",
        "follow": "1",
        "timestamps": "0",
        "tail": "5",
        "since": "1767323045.500000000",
    }


def test_an_engine_address_that_cannot_be_spoken_to_is_refused():
    with pytest.raises(UsageError, match="npipe"):
        StreamingEngine("npipe:////./pipe/docker", api_version="1.41")
