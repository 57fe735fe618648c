import dataclasses
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from h9s import pki
from h9s.config import ClientConfig
from h9s.errors import UsageError


@pytest.fixture(scope="module")
def config():
    ca = pki.create_ca("test")
    mine = pki.issue(ca, common_name="me", organization=pki.ROLE_ADMIN)
    return ClientConfig(
        servers=("127.0.0.1:7400", "[::1]:7410", "host.example:7420"),
        ca=ca.certificate,
        certificate=mine.certificate,
        key=mine.key,
        namespace="shop",
    )


def test_what_was_saved_is_loaded(config, tmp_path):
    path = tmp_path / "deep" / "howbectl.yaml"
    config.save(path)
    assert ClientConfig.load(path) == config
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["howbectl.yaml"]


def test_people_can_read_the_file(config, tmp_path):
    config.save(tmp_path / "c.yaml")
    text = (tmp_path / "c.yaml").read_text()
    assert "ca: |\n  -----BEGIN CERTIFICATE-----\n" in text


def test_saving_again_replaces_the_file_and_its_mode(config, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("x" * 100_000)
    path.chmod(0o644)
    config.save(path)
    assert ClientConfig.load(path) == config
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_without_certificates_there_is_no_tls(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("servers: ['127.0.0.1:7400']\n")
    assert ClientConfig.load(path) == ClientConfig(("127.0.0.1:7400",), b"", b"", b"", "default")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "is not a mapping"),
        ("servers: [a:1]\nserver: b\n", "unknown field 'server'"),
        ("namespace: x\n", "servers: give at least one"),
        ("servers: [localhost]\n", "'localhost' is not of the form host:port"),
        ("servers: ['h:99999']\n", "is not of the form host:port"),
        ("servers: ['h:1']\nca: x\nkey: y\n", "certificate: is missing, while ca is given"),
        ("servers: ['h:1']\nnamespace: 5\n", "namespace: expected text, found int"),
        ("servers: [\n", "is not YAML"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        ClientConfig.load(path)
    assert "bad.yaml" in caught.value.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml: No such file"):
        ClientConfig.load(tmp_path / "none.yaml")


@given(
    st.lists(st.from_regex(r"[a-z0-9.]{1,20}:[1-9][0-9]{0,3}", fullmatch=True), min_size=1, max_size=5),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
)
def test_servers_and_namespaces_survive(tmp_path_factory, servers, namespace):
    path = tmp_path_factory.mktemp("config") / "c.yaml"
    config = ClientConfig(tuple(servers), b"", b"", b"", namespace)
    config.save(path)
    assert ClientConfig.load(path) == config
    assert dataclasses.replace(config, namespace="other") != config
