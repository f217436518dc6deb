# SPDX-License-Identifier: Apache-2.0
"""Keycloak's admin API, as much of it as tests and demo need.

    keycloak = Keycloak.from_env()          # KEYCLOAK_URL, KEYCLOAK_ADMIN, KEYCLOAK_ADMIN_PASSWORD
    realm = keycloak.create_realm("prod")   # clients keyturn and mint, user alice
    key = realm.add_rsa("next", priority=90, active=False, valid_s=3600)
    realm.update(key, active=True, priority=101)
    token = realm.mint()

A "key" is the id of a component. Every method raises KeycloakError with status and body when the server
refuses. Keycloak keeps writes in memory: killing it loses all realms.
"""
import copy
import datetime
import os
import time
import urllib.parse
import uuid

import jwt
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

KEY_PROVIDER = "org.keycloak.keys.KeyProvider"
TIMEOUT_S = 60
KEYTURN_ROLES = ("view-realm",)  # README promises that this is enough

# What of a component's config may be sent back in a PUT. All of it is always sent: after an answer of 500
# a server would take what is left out from a copy it never stored.
DECLARED = ("priority", "enabled", "active", "algorithm")


class KeycloakError(Exception):
    def __init__(self, method, url, status, body):
        super().__init__(f"{method} {url}: {status} {body[:300]}")
        self.status = status
        self.body = body


def realm_json(name, keyturn_secret="keyturn-secret", mint_secret="mint-secret",
               token_lifespan_s=60, roles=KEYTURN_ROLES):
    """The test realm. Leaving any of these fields out breaks logins or the import (measured, 26.7.2)."""
    return {
        "realm": name, "enabled": True, "accessTokenLifespan": token_lifespan_s,
        "clients": [
            {"clientId": "keyturn", "secret": keyturn_secret, "serviceAccountsEnabled": True,
             "standardFlowEnabled": False},
            {"clientId": "mint", "secret": mint_secret, "serviceAccountsEnabled": True,
             "directAccessGrantsEnabled": True, "standardFlowEnabled": False}],
        "users": [
            {"username": "service-account-keyturn", "enabled": True,
             "serviceAccountClientId": "keyturn", "clientRoles": {"realm-management": list(roles)}},
            {"username": "alice", "enabled": True, "email": "alice@example.com", "firstName": "A",
             "lastName": "B", "credentials": [{"type": "password", "value": "alice-pw"}]}]}


def certificate(private_key, name="test", valid_s=365 * 86400, not_before_s=-100):
    """A self-signed certificate over the key, notAfter = now + valid_s seconds (negative: expired)."""
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = min(not_before_s, valid_s - 100)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
            .public_key(private_key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(seconds=start))
            .not_valid_after(now + datetime.timedelta(seconds=valid_s))
            .sign(private_key, hashes.SHA256()))


def pem(thing):
    """PEM text of a private key (PKCS#8) or a certificate."""
    if isinstance(thing, x509.Certificate):
        return thing.public_bytes(serialization.Encoding.PEM).decode()
    return thing.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.NoEncryption()).decode()


class Keycloak:
    def __init__(self, url, admin, password):
        self.url = url.rstrip("/")
        self.admin = admin
        self.password = password
        self.session = requests.Session()
        self.session.trust_env = False  # a proxy of this machine is not for the test cluster
        self._token = None
        self._token_until = 0.0

    @classmethod
    def from_env(cls):
        return cls(os.environ["KEYCLOAK_URL"], os.environ["KEYCLOAK_ADMIN"],
                   os.environ["KEYCLOAK_ADMIN_PASSWORD"])

    def raw(self, method, url, **kwargs):
        kwargs.setdefault("timeout", TIMEOUT_S)
        kwargs.setdefault("allow_redirects", False)
        return self.session.request(method, url, **kwargs)

    def token(self, fresh=False):
        if fresh or time.monotonic() > self._token_until:
            url = f"{self.url}/realms/master/protocol/openid-connect/token"
            answer = self.raw("POST", url, data={"grant_type": "password", "client_id": "admin-cli",
                                                 "username": self.admin, "password": self.password})
            if answer.status_code != 200:
                raise KeycloakError("POST", url, answer.status_code, answer.text)
            body = answer.json()
            self._token = body["access_token"]
            self._token_until = time.monotonic() + body["expires_in"] - 15
        return self._token

    def call(self, method, path, body=None, params=None):
        """One admin call below /admin/realms; JSON of the answer, or the Response without a body."""
        url = f"{self.url}/admin/realms{path}"
        for fresh in (False, True):
            headers = {"Authorization": "Bearer " + self.token(fresh)}
            answer = self.raw(method, url, json=body, params=params, headers=headers)
            if answer.status_code != 401:  # 401: the server was started anew meanwhile
                break
        if answer.status_code >= 300:
            raise KeycloakError(method, url, answer.status_code, answer.text)
        return answer.json() if answer.content else answer

    def wait_ready(self, timeout_s=120):
        """Until the server answers logins again, after it was paused or started anew."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                self.token(fresh=True)
                return
            except (requests.RequestException, KeycloakError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.3)

    def realm(self, name="prod"):
        return Realm(self, name)

    def create_realm(self, name="prod", replace=False, extra=None, **kwargs):
        """The test realm (realm_json); extra is merged over its top level."""
        realm = self.realm(name)
        if replace:
            realm.delete(missing_ok=True)
        self.call("POST", "", {**realm_json(name, **kwargs), **(extra or {})})
        return realm


class Realm:
    def __init__(self, keycloak, name):
        self.keycloak = keycloak
        self.name = name

    # --- the realm itself ---

    @property
    def url(self):
        """Where the realm is reached, which need not be its issuer."""
        return f"{self.keycloak.url}/realms/{urllib.parse.quote(self.name)}"

    def call(self, method, path="", body=None, params=None):
        return self.keycloak.call(method, f"/{urllib.parse.quote(self.name)}{path}", body, params)

    def get(self):
        return self.call("GET")

    def put(self, **fields):
        """Changes top-level fields of the realm; the others stay."""
        self.call("PUT", body=fields)

    def exists(self):
        try:
            self.get()
        except KeycloakError as error:
            if error.status == 404:
                return False
            raise
        return True

    def delete(self, missing_ok=False):
        try:
            self.call("DELETE")
        except KeycloakError as error:
            if error.status != 404 or not missing_ok:
                raise

    def rename(self, name):
        self.put(realm=name)
        self.name = name

    def public(self, path):
        answer = self.keycloak.raw("GET", self.url + path)
        if answer.status_code != 200:
            raise KeycloakError("GET", self.url + path, answer.status_code, answer.text)
        return answer.json()

    def discovery(self):
        return self.public("/.well-known/openid-configuration")

    def issuer(self):
        return self.discovery()["issuer"]

    def jwks(self):
        return self.public("/protocol/openid-connect/certs")["keys"]

    # --- keys ---

    def keys(self):
        """GET keys: all keys with status, kid, providerId (= component id), certificate."""
        return self.call("GET", "/keys")["keys"]

    def signing_keys(self):
        return [key for key in self.keys() if key.get("use") == "SIG" and key["type"] != "OCT"]

    def key(self, component_id):
        """The entry of /keys that the component gives."""
        found = [key for key in self.keys() if key["providerId"] == component_id]
        if not found:
            raise LookupError(f"realm {self.name}: no key of component {component_id}")
        return found[0]

    def kid(self, component_id):
        return self.key(component_id)["kid"]

    def components(self):
        """Components that give keys; their order differs from call to call."""
        return self.call("GET", "/components", params={"type": KEY_PROVIDER})

    def component(self, component_id):
        return self.call("GET", f"/components/{component_id}")

    def active_component(self, algorithm="RS256"):
        """Id of the component whose key signs."""
        answer = self.call("GET", "/keys")
        kid = answer["active"][algorithm]
        return next(key["providerId"] for key in answer["keys"] if key["kid"] == kid)

    def add_component(self, provider, name, config, component_id=None):
        component_id = component_id or str(uuid.uuid4())
        self.call("POST", "/components", {
            "id": component_id, "name": name, "providerId": provider, "providerType": KEY_PROVIDER,
            "config": {key: [str(value)] for key, value in config.items() if value is not None}})
        return component_id

    @staticmethod
    def _base(priority, active, enabled, algorithm):
        return {"priority": priority, "active": str(bool(active)).lower(),
                "enabled": str(bool(enabled)).lower(), "algorithm": algorithm}

    def add_rsa(self, name="rsa", priority=100, active=True, enabled=True, algorithm="RS256",
                private_key=None, cert=None, valid_s=365 * 86400, bits=2048, component_id=None):
        """An own RSA key with an own certificate that expires valid_s seconds from now.

        26.7.2 refuses a certificate that is expired already: use a few seconds and wait.
        """
        private_key = private_key or rsa.generate_private_key(public_exponent=65537, key_size=bits)
        cert = cert or certificate(private_key, self.name, valid_s)
        config = self._base(priority, active, enabled, algorithm)
        config |= {"privateKey": pem(private_key), "certificate": pem(cert)}
        return self.add_component("rsa", name, config, component_id)

    def add_rsa_generated(self, name="rsa-generated", priority=100, active=True, enabled=True,
                          algorithm="RS256", bits=2048, component_id=None):
        config = self._base(priority, active, enabled, algorithm) | {"keySize": bits}
        return self.add_component("rsa-generated", name, config, component_id)

    def add_ecdsa_generated(self, name="ecdsa-generated", priority=100, active=True, enabled=True,
                            curve="P-256", with_certificate=False, component_id=None):
        """The curve decides the algorithm: P-256 ES256, P-384 ES384, P-521 ES512."""
        config = self._base(priority, active, enabled, None)
        config |= {"ecdsaEllipticCurveKey": curve,
                   "ecGenerateCertificate": str(with_certificate).lower()}
        return self.add_component("ecdsa-generated", name, config, component_id)

    def add_eddsa_generated(self, name="eddsa-generated", priority=100, active=True, enabled=True,
                            curve="Ed25519", component_id=None):
        config = self._base(priority, active, enabled, None) | {"eddsaEllipticCurveKey": curve}
        return self.add_component("eddsa-generated", name, config, component_id)

    def update(self, component_id, cert=None, **changes):
        """Sets priority, active, enabled or algorithm, and the certificate where one is given.

        cert is a certificate or PEM text; "" asks the server for a new self-signed one.
        """
        unknown = set(changes) - set(DECLARED)
        if unknown:
            raise TypeError(f"update: unknown {sorted(unknown)}; there are {DECLARED}")
        old = self.component(component_id)
        config = {name: old["config"][name] for name in DECLARED if name in old["config"]}
        for name, value in changes.items():
            config[name] = [str(value).lower() if isinstance(value, bool) else str(value)]
        if cert is not None:
            text = pem(cert) if isinstance(cert, x509.Certificate) else cert
            config["certificate"] = [text] if text else []
        self.call("PUT", f"/components/{component_id}", {
            "providerId": old["providerId"], "providerType": KEY_PROVIDER, "config": config})

    def set_priority(self, component_id, priority):
        self.update(component_id, priority=priority)

    def set_active(self, component_id, active):
        self.update(component_id, active=bool(active))

    def set_enabled(self, component_id, enabled):
        self.update(component_id, enabled=bool(enabled))

    def delete_component(self, component_id):
        self.call("DELETE", f"/components/{component_id}")

    # --- tokens ---

    def mint_response(self, **form):
        return self.keycloak.raw("POST", self.url + "/protocol/openid-connect/token", data=form)

    def mint(self, client="mint", secret="mint-secret"):
        """An access token by client credentials."""
        return self._mint(grant_type="client_credentials", client_id=client, client_secret=secret)

    def mint_user(self, user="alice", password="alice-pw", client="mint", secret="mint-secret"):
        """An access token of a user (userinfo wants one of those)."""
        return self._mint(grant_type="password", scope="openid", client_id=client,
                          client_secret=secret, username=user, password=password)

    def _mint(self, **form):
        answer = self.mint_response(**form)
        if answer.status_code != 200:
            raise KeycloakError("POST", answer.url, answer.status_code, answer.text)
        return answer.json()["access_token"]

    # --- clients and roles ---

    def client_uuid(self, client_id):
        found = self.call("GET", "/clients", params={"clientId": client_id})
        if not found:
            raise LookupError(f"realm {self.name}: no client {client_id}")
        return found[0]["id"]

    def set_client_secret(self, client_id, secret):
        uid = self.client_uuid(client_id)
        client = self.call("GET", f"/clients/{uid}")
        client["secret"] = secret
        self.call("PUT", f"/clients/{uid}", client)

    def set_client_enabled(self, client_id, enabled):
        self.call("PUT", f"/clients/{self.client_uuid(client_id)}",
                  {"clientId": client_id, "enabled": enabled})

    def _role_path(self, client_id):
        user = self.call("GET", f"/clients/{self.client_uuid(client_id)}/service-account-user")
        return f"/users/{user['id']}/role-mappings/clients/{self.client_uuid('realm-management')}"

    def roles(self, client_id="keyturn"):
        """Names of the realm-management roles of a client's service account."""
        return sorted(role["name"] for role in self.call("GET", self._role_path(client_id)))

    def drop_role(self, role, client_id="keyturn"):
        """Takes a role away; it is gone with the next token that the client gets."""
        path = self._role_path(client_id)
        self.call("DELETE", path, [r for r in self.call("GET", path) if r["name"] == role])

    def add_role(self, role, client_id="keyturn"):
        path = self._role_path(client_id)
        self.call("POST", path, [r for r in self.call("GET", path + "/available") if r["name"] == role])


def verify(token, keys, issuer=None):
    """Claims of the token if one of the JWKS keys signed it; raises jwt.InvalidTokenError if none did."""
    kid = jwt.get_unverified_header(token)["kid"]
    for key in keys:
        if key["kid"] == kid:
            return jwt.decode(token, jwt.PyJWK(key).key, algorithms=[key["alg"]], issuer=issuer,
                              options={"verify_aud": False})
    raise jwt.InvalidTokenError(f"kid {kid} is not among {sorted(key['kid'] for key in keys)}")


def foreign_token(token, kid=None):
    """The same claims signed by a key nobody trusts: every consumer must refuse it."""
    header = copy.deepcopy(jwt.get_unverified_header(token))
    claims = jwt.decode(token, options={"verify_signature": False})
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if header["alg"].startswith("ES"):
        key = ec.generate_private_key(ec.SECP256R1())
        header["alg"] = "ES256"
    return jwt.encode(claims, key, algorithm=header["alg"], headers={"kid": kid or header["kid"]})
