#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Made tests/sim/data/keys.json: the public parts of the keys that the simulated realms have. The private parts are
thrown away as they are made, since nothing is signed in a simulation. RSA keys have a self-signed certificate, as those
that Keycloak generates; EC keys have none.

  tests/sim/keys.py > tests/sim/data/keys.json
"""

import base64
import datetime
import hashlib
import json
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

COUNT = {"RS256": 24, "ES256": 24}
BEGIN = datetime.datetime(2025, 1, 1)
END = datetime.datetime(2045, 1, 1)


def standard(data):
    return base64.b64encode(data).decode()


def url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value):
    return url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def certificate(private):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "prod")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(BEGIN).not_valid_after(END)
    return standard(made.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def entry(algorithm):
    is_rsa = algorithm == "RS256"
    private = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
    public = private.public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    numbers = public.public_numbers()
    made = {"algorithm": algorithm, "kid": url(hashlib.sha256(spki).digest()), "publicKey": standard(spki)}
    if is_rsa:
        return made | {"certificate": certificate(private), "n": number(numbers.n), "e": number(numbers.e)}
    return made | {"x": url(numbers.x.to_bytes(32, "big")), "y": url(numbers.y.to_bytes(32, "big"))}


json.dump([entry(name) for name, count in COUNT.items() for _ in range(count)], sys.stdout, indent=1)
print()
