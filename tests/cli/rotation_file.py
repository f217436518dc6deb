# SPDX-License-Identifier: Apache-2.0
"""The KeyRotation that plans are made of here."""

SPEC = """
apiVersion: keyturn.dev/v1alpha1
kind: KeyRotation
metadata: {name: prod, namespace: auth}
spec:
  keycloak: {url: https://keycloak.example, realm: prod, credentials: {secret: {name: keyturn-keycloak}}}
  key: {adopt: true}
  schedule: {every: 90d}
  overlap: {publish: 1h, retire: 10h}
  consumers: [{name: api, publish: {secret: {name: keys}}, reload: {restart: [{kind: Deployment, name: api}]}}]
"""
