import socket
import ssl
import stat
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from h9s import pki
from h9s.clock import SystemClock
from h9s.errors import InvalidError, UsageError

DAY = 86_400


class ShiftedClock:
    """The machine's clock, so many seconds off."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def monotonic(self) -> float:
        return SystemClock().monotonic()

    def wall(self) -> float:
        return SystemClock().wall() + self._seconds


@pytest.fixture(scope="module")
def ca():
    return pki.create_ca("test-ca")


@pytest.fixture(scope="module")
def server(ca):
    return pki.issue(
        ca,
        common_name="r1",
        organization=pki.ROLE_REPLICA,
        dns_names=[pki.APISERVER_NAME],
        ip_addresses=["127.0.0.1"],
        server=True,
    )


def handshake(tmp_path, *, server, server_ca, client, client_ca, name=pki.APISERVER_NAME):
    """Do a mutual TLS handshake; gives (what the client saw, what the server saw) as errors or None."""

    def context(purpose, credential, trusted, which):
        made = ssl.create_default_context(purpose, cadata=trusted.certificate.decode())
        made.verify_mode = ssl.CERT_REQUIRED
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        certificate, key = tmp_path / f"{which}.crt", tmp_path / f"{which}.key"
        credential.save(certificate, key)
        made.load_cert_chain(certificate, key)
        return made

    serving = context(ssl.Purpose.CLIENT_AUTH, server, client_ca, "server")
    calling = context(ssl.Purpose.SERVER_AUTH, client, server_ca, "client")
    left, right = socket.socketpair()
    seen: dict[str, Exception | None] = {}

    def serve():
        try:
            with serving.wrap_socket(left, server_side=True) as tls:
                tls.sendall(b"x")
                seen["server"] = None
        except (ssl.SSLError, OSError) as error:
            seen["server"] = error
        finally:
            left.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with calling.wrap_socket(right, server_hostname=name) as tls:
            tls.recv(1)
            seen["client"] = None
    except (ssl.SSLError, OSError) as error:
        seen["client"] = error
    finally:
        right.close()
        thread.join(5)
    return seen["client"], seen["server"]


def node(ca, **kwargs):
    return pki.issue(ca, common_name="n1", organization=pki.ROLE_NODE, **kwargs)


def test_both_sides_accept_each_other(ca, server, tmp_path):
    seen = handshake(tmp_path, server=server, server_ca=ca, client=node(ca), client_ca=ca)
    assert seen == (None, None)


@pytest.mark.parametrize("shift", [-400 * DAY, 2 * DAY], ids=["expired", "not yet valid"])
def test_a_certificate_out_of_its_time_is_refused(ca, server, tmp_path, shift):
    old = node(ca, clock=ShiftedClock(shift))
    _, refusal = handshake(tmp_path, server=server, server_ca=ca, client=old, client_ca=ca)
    assert isinstance(refusal, ssl.SSLCertVerificationError)
    old_server = pki.issue(
        ca,
        common_name="r1",
        organization=pki.ROLE_REPLICA,
        dns_names=[pki.APISERVER_NAME],
        server=True,
        clock=ShiftedClock(shift),
    )
    refusal, _ = handshake(tmp_path, server=old_server, server_ca=ca, client=node(ca), client_ca=ca)
    assert isinstance(refusal, ssl.SSLCertVerificationError)


def test_a_clock_that_is_a_little_behind_does_not_matter(ca, server, tmp_path):
    fresh = node(ca, clock=ShiftedClock(300))
    seen = handshake(tmp_path, server=server, server_ca=ca, client=fresh, client_ca=ca)
    assert seen == (None, None)


def test_a_certificate_of_another_ca_is_refused(ca, server, tmp_path):
    other = pki.create_ca("test-ca")
    _, refusal = handshake(tmp_path, server=server, server_ca=ca, client=node(other), client_ca=ca)
    assert isinstance(refusal, ssl.SSLCertVerificationError)


def test_a_server_under_another_name_is_refused(ca, server, tmp_path):
    refusal, _ = handshake(
        tmp_path, server=server, server_ca=ca, client=node(ca), client_ca=ca, name=pki.HOWBELET_NAME
    )
    assert isinstance(refusal, ssl.SSLCertVerificationError)


def test_a_client_certificate_does_not_make_a_server(ca, tmp_path):
    pretender = pki.issue(ca, common_name="n1", organization=pki.ROLE_NODE, dns_names=[pki.APISERVER_NAME])
    refusal, _ = handshake(tmp_path, server=pretender, server_ca=ca, client=node(ca), client_ca=ca)
    assert isinstance(refusal, ssl.SSLCertVerificationError)


def test_a_leaf_certificate_does_not_make_a_ca(ca, server, tmp_path):
    leaf = node(ca)
    forged = pki.issue(leaf, common_name="me", organization=pki.ROLE_ADMIN)
    chained = pki.Credential(forged.certificate + leaf.certificate, forged.key)
    _, refusal = handshake(tmp_path, server=server, server_ca=ca, client=chained, client_ca=ca)
    assert isinstance(refusal, ssl.SSLCertVerificationError)


def test_openssl_agrees(ca, server, tmp_path):
    (tmp_path / "ca.crt").write_bytes(ca.certificate)
    (tmp_path / "server.crt").write_bytes(server.certificate)
    command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt", "server.crt"]
    try:
        checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no openssl command")
    assert checked.stdout.strip() == "server.crt: OK", checked.stderr


def test_a_certificate_says_who_its_holder_is(ca, server):
    assert pki.Identity.of_certificate(server.certificate) == pki.Identity("r1", pki.ROLE_REPLICA)
    with pytest.raises(InvalidError, match="0 O"):
        pki.Identity.of_certificate(ca.certificate)
    with pytest.raises(InvalidError, match="not a certificate"):
        pki.Identity.of_certificate(b"hello")


def test_a_request_decides_nothing_but_the_key(ca):
    key_pem, request = pki.make_csr("root")
    certificate = pki.sign_csr(ca, request, common_name="n1", organization=pki.ROLE_NODE)
    assert pki.Identity.of_certificate(certificate) == pki.Identity("n1", pki.ROLE_NODE)
    key = serialization.load_pem_private_key(key_pem, password=None)
    assert x509.load_pem_x509_certificate(certificate).public_key() == key.public_key()


def test_requests_that_are_none_are_refused(ca):
    with pytest.raises(InvalidError, match="not a certificate signing request"):
        pki.sign_csr(ca, b"hello", common_name="n1", organization=pki.ROLE_NODE)
    key = ec.generate_private_key(ec.SECP384R1())
    other_curve = x509.CertificateSigningRequestBuilder(subject_name=x509.Name([])).sign(key, hashes.SHA256())
    pem = other_curve.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(InvalidError, match="not ECDSA P-256"):
        pki.sign_csr(ca, pem, common_name="n1", organization=pki.ROLE_NODE)


def test_a_request_signed_by_another_key_is_refused(ca):
    _, request = pki.make_csr("n1")
    der = bytearray(x509.load_pem_x509_csr(request).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = ssl.DER_cert_to_PEM_cert(bytes(der)).replace("CERTIFICATE", "CERTIFICATE REQUEST").encode()
    with pytest.raises(InvalidError, match=r"signed by its own key|not a certificate signing request"):
        pki.sign_csr(ca, forged, common_name="n1", organization=pki.ROLE_NODE)


def test_a_key_is_its_owners_alone(ca, tmp_path):
    certificate, key = tmp_path / "ca.crt", tmp_path / "ca.key"
    key.write_text("old")
    key.chmod(0o644)
    ca.save(certificate, key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert pki.Credential.load(certificate, key) == ca


def test_a_file_that_is_no_pem_is_named(tmp_path):
    (tmp_path / "x.crt").write_text("hello")
    with pytest.raises(UsageError, match=r"x\.crt is not a PEM file"):
        pki.read_pem(tmp_path / "x.crt")
    with pytest.raises(UsageError, match=r"cannot read .*y\.crt: No such file"):
        pki.read_pem(tmp_path / "y.crt")


def test_a_join_token_survives_its_text(ca):
    token = pki.JoinToken(id="abc123", secret="s3cr3t_-", ca=ca.certificate)
    assert pki.JoinToken.parse(token.format()) == token
    assert pki.JoinToken.parse(f"  {token.format()}\n") == token
    assert token.format().startswith("h9s1.abc123.s3cr3t_-.")


@given(st.data())
def test_a_damaged_join_token_is_refused_without_repeating_it(ca, data):
    text = pki.JoinToken(id="abc123", secret="verysecret", ca=ca.certificate).format()
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(UsageError) as caught:
        pki.JoinToken.parse(text[:cut])
    assert "verysecret" not in caught.value.message


@given(st.text())
def test_any_other_text_is_refused_as_a_join_token(text):
    with pytest.raises(UsageError):
        pki.JoinToken.parse(text)
