# SPDX-License-Identifier: Apache-2.0
"""What `helm template` made of the chart, and how it refused to."""
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "keyturn"


class Refused(Exception):
    """helm refused the values; str() is what it said."""


class Rendered:
    """What `helm template` made, found by kind and name."""

    def __init__(self, objects):
        self.objects = objects

    def kinds(self):
        return sorted({o["kind"] for o in self.objects})

    def all(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def get(self, kind, name=None, namespace=None):
        found = [o for o in self.all(kind)
                 if name in (None, o["metadata"]["name"])
                 and namespace in (None, o["metadata"].get("namespace"))]
        assert len(found) == 1, f"{kind} {namespace}/{name}: {len(found)} of {[o['metadata']['name'] for o in self.all(kind)]}"
        return found[0]

    @property
    def pod(self):
        return self.get("Deployment")["spec"]["template"]["spec"]

    @property
    def container(self):
        return self.pod["containers"][0]

    @property
    def args(self):
        return self.container["args"]
