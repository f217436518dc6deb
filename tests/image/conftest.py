# SPDX-License-Identifier: Apache-2.0
"""The release binaries and the image, each made once."""
import io
import json
import tarfile

import pytest

from building import NAME, TOP, make


@pytest.fixture(scope="session")
def release():
    """Folder of the release binaries."""
    make(TOP, "release")
    return f"{TOP}/build/release"


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """Path of the archive, built here from this tree."""
    path = str(tmp_path_factory.mktemp("image") / "image.tar")
    make(TOP, "image", f"IMAGE={NAME}", f"IMAGE_TAR={path}")
    return path


@pytest.fixture(scope="session")
def blobs(image):
    with tarfile.open(image) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}


@pytest.fixture(scope="session")
def manifest(blobs):
    index = json.loads(blobs["index.json"])
    return json.loads(blobs["blobs/sha256/" + index["manifests"][0]["digest"].split(":")[1]])


@pytest.fixture(scope="session")
def rootfs(blobs, manifest, tmp_path_factory):
    root = tmp_path_factory.mktemp("rootfs")
    for layer in manifest["layers"]:
        data = blobs["blobs/sha256/" + layer["digest"].split(":")[1]]
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            archive.extractall(root)
    return str(root)
