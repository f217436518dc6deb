# SPDX-License-Identifier: Apache-2.0
"""What every test of the reference verifier starts from."""
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from verifier_helpers import Key, Mount, Server, ec_key, rsa_key


@pytest.fixture
def mount(tmp_path):
    return Mount(tmp_path / "keys")


@pytest.fixture
def serve(mount):
    """serve(*flags): a Server of the mount; all end with the test, by a signal and with status 0."""
    servers = []

    def start(*flags, **more):
        servers.append(Server(mount, *flags, **more))
        return servers[-1]
    yield start
    for server in servers:
        server.stop()
    assert [server.process.returncode for server in servers] == [0] * len(servers)


@pytest.fixture(scope="session")
def first():
    return rsa_key("first")


@pytest.fixture(scope="session")
def second():
    return ec_key("second")


@pytest.fixture(scope="session")
def foreign():
    """An attacker's key under a kid that is trusted."""
    return rsa_key("first")


@pytest.fixture(scope="session")
def edward():
    return Key("edward", "EdDSA", ed25519.Ed25519PrivateKey.generate())
