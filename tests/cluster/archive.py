#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a docker-archive with one static program: archive.py PROGRAM IMAGE:TAG OUTPUT.tar

The same input gives the same bytes: times, owners and order are fixed.
"""
import hashlib
import io
import json
import os
import sys
import tarfile


def add(tar, name, data, mode=0o644):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    program, image, output = sys.argv[1:]
    name = program.rsplit("/", 1)[-1]
    layer = io.BytesIO()
    with open(program, "rb") as file, tarfile.open(fileobj=layer, mode="w") as tar:
        add(tar, name, file.read(), 0o755)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine),
        "os": "linux",
        "config": {"Entrypoint": ["/" + name], "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
    }, sort_keys=True).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [image], "Layers": [digest + "/layer.tar"]}]
    with tarfile.open(output, "w") as tar:
        add(tar, digest + "/layer.tar", layer.getvalue())
        add(tar, config_name, config)
        add(tar, "manifest.json", json.dumps(manifest).encode())


if __name__ == "__main__":
    main()
