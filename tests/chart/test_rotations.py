# SPDX-License-Identifier: Apache-2.0
"""The value `rotations`: which issuer and which JWKS address a KeyRotation gets, and what the notes say about it."""
import pytest
import yaml

from rendering import ROOT, Refused

KEYCLOAK = {"url": "http://keycloak.auth.svc:8080", "realm": "prod", "credentials": {"secret": {"name": "login"}}}
IN_CLUSTER_KEYS = "http://keycloak.auth.svc:8080/realms/prod/protocol/openid-connect/certs"
WARNING = "takes the in-cluster address"


def rotation(**fields):
    return {"name": "prod", "namespace": "auth", "keycloak": KEYCLOAK, **fields}


def issuer(render, item, **values):
    return render({"rotations": [item], **values}).get("KeyRotation")["spec"].get("issuer", {})


def test_issuer_rung_1_explicit_value_wins(render, notes):
    values = {"global": {"domain": "example.com"},
              "rotations": [rotation(issuer={"url": "https://login.example.net/realms/prod"})]}
    got = render(values).get("KeyRotation")["spec"]["issuer"]
    assert got == {"url": "https://login.example.net/realms/prod", "jwksURL": IN_CLUSTER_KEYS}
    assert WARNING not in notes(values)


def test_issuer_rung_2_derived_from_the_domain(render, notes):
    values = {"global": {"domain": "example.com"}, "rotations": [rotation()]}
    got = render(values).get("KeyRotation")["spec"]["issuer"]
    assert got == {"url": "https://keycloak.example.com/realms/prod", "jwksURL": IN_CLUSTER_KEYS}
    assert WARNING not in notes(values)


def test_issuer_rung_3_in_cluster_with_a_warning(render, notes):
    values = {"rotations": [rotation()]}
    got = render(values).get("KeyRotation")["spec"]["issuer"]
    assert got == {"url": "http://keycloak.auth.svc:8080/realms/prod", "jwksURL": IN_CLUSTER_KEYS}
    said = notes(values)
    assert "WARNING: rotation auth/prod " + WARNING in said
    assert "set global.domain, or issuer.url" in said


@pytest.mark.parametrize("domain", ["", "example.com"])
@pytest.mark.parametrize("url", [None, "https://login.example.net/realms/prod"])
def test_jwks_is_a_setting_of_its_own(render, domain, url):
    item = rotation(issuer={"jwksURL": "https://cdn.example.com/keys.json", **({"url": url} if url else {})})
    with_jwks = issuer(render, item, **{"global": {"domain": domain}})
    item["issuer"].pop("jwksURL")
    without = issuer(render, item, **{"global": {"domain": domain}})
    assert with_jwks == {"url": without["url"], "jwksURL": "https://cdn.example.com/keys.json"}
    assert without["jwksURL"] == IN_CLUSTER_KEYS


def test_foreign_identity_provider_stays_as_written(render, notes):
    foreign = {"name": "partner", "issuer": {"url": "https://login.example.org/tenant"}}
    values = {"global": {"domain": "example.com"}, "rotations": [foreign]}
    made = render(values)
    assert made.get("KeyRotation")["spec"] == {"issuer": {"url": "https://login.example.org/tenant"}}
    assert "keyturn-credentials" not in [o["metadata"]["name"] for o in made.all("Role")]
    said = notes(values)
    assert "issuer https://login.example.org/tenant, keys from discovery's jwks_uri" in said and WARNING not in said
    only_keys = {"name": "partner", "issuer": {"jwksURL": "https://login.example.org/keys"}}
    assert issuer(render, only_keys) == {"jwksURL": "https://login.example.org/keys"}
    assert "issuer as discovery says" in notes({"rotations": [only_keys]})


def test_realm_is_encoded_in_addresses_only(render):
    item = rotation(keycloak={**KEYCLOAK, "realm": "my realm+2"})
    made = render({"global": {"domain": "example.com"}, "rotations": [item]}).get("KeyRotation")["spec"]
    assert made["issuer"]["url"] == "https://keycloak.example.com/realms/my%20realm%2B2"
    assert made["issuer"]["jwksURL"].startswith("http://keycloak.auth.svc:8080/realms/my%20realm%2B2/")
    assert made["keycloak"]["realm"] == "my realm+2"


def test_every_field_of_a_rotation_arrives(render):
    full = yaml.safe_load((ROOT / "crds/examples/keycloak.yaml").read_text())
    item = {"name": full["metadata"]["name"], "namespace": full["metadata"]["namespace"],
            "labels": {"team": "shop"}, "annotations": {"note": "x"}, **full["spec"]}
    made = render({"rotations": [item]}).get("KeyRotation")
    assert made["spec"] == full["spec"]
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("prod", "auth")
    assert made["metadata"]["labels"]["team"] == "shop"
    assert made["metadata"]["annotations"] == {"note": "x"}


def test_namespace_of_a_rotation_is_the_releases_by_default(render):
    item = rotation()
    del item["namespace"]
    made = render({"rotations": [item]})
    assert made.get("KeyRotation")["metadata"]["namespace"] == "keyturn-system"
    assert made.get("Role", "keyturn-credentials")["metadata"]["namespace"] == "keyturn-system"


def test_rotation_that_nobody_would_watch_is_refused(render):
    with pytest.raises(Refused, match="prod is in namespace auth, which nobody watches: add it to watchNamespaces"):
        render({"rotations": [rotation()], "watchNamespaces": ["shop"]})
    assert render({"rotations": [rotation()], "watchNamespaces": ["shop", "auth"]}).get("KeyRotation")


def test_uninstall_leaves_a_rotation_that_would_delete(render, notes):
    keep = "helm.sh/resource-policy"
    deletes = {"rotations": [rotation(deletionPolicy="Delete", annotations={"note": "x", keep: "delete"})]}
    assert render(deletes).get("KeyRotation")["metadata"]["annotations"] == {keep: "keep", "note": "x"}
    assert "uninstalling this release leaves it in place" in notes(deletes)
    retains = render({"rotations": [rotation(deletionPolicy="Retain")]}).get("KeyRotation")
    assert "annotations" not in retains["metadata"]


@pytest.mark.parametrize("item", [
    {"name": "prod"},
    {"name": "prod", "issuer": {}},
    {"name": "prod", "issuer": {"url": "keycloak.example.com/realms/prod"}},
    {"name": "prod", "issuer": {"url": "https://user:word@example.com"}},
    {"name": "prod", "issuer": {"url": "https://example.com/?a=b"}},
    {"name": "prod", "issuer": {"uri": "https://example.com"}},
    {"name": "prod", "issuer": {"jwksURL": "ftp://example.com/keys"}},
    rotation(keycloak={"url": "http://k", "realm": "prod"}),
    rotation(keycloak={**KEYCLOAK, "realm": "a/b"}),
    rotation(keycloak={**KEYCLOAK, "url": "http://k/"}),
    rotation(keycloak={**KEYCLOAK, "password": "x"}),
    rotation(name="Prod"),
    rotation(name="p" * 64),
    rotation(namespace="a.b"),
    rotation(refreshInterval="30"),
    rotation(wrapper={"warnBefore": ["1w"]}),
    rotation(deletionPolicy="Keep"),
    rotation(consumers=[{"name": "api"}]),
    rotation(realm="prod"),
], ids=lambda item: next(k for k in reversed(item)))
def test_schema_refuses_a_bad_rotation(render, item):
    with pytest.raises(Refused, match="values don't meet the specifications"):
        render({"rotations": [item]})
