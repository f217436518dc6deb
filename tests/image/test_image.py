# SPDX-License-Identifier: Apache-2.0
"""The image that `make image` writes: small, the same bytes again, complete, nothing more than needed."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

import pytest

from building import NAME, TOP, make, out_of_make

BYTES_MAX = 40_000_000


def in_root(rootfs, *command):
    chroot = ["chroot", rootfs, *command]
    if os.geteuid() != 0:
        chroot = ["unshare", "--map-root-user", *chroot]
    return subprocess.run(chroot, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, timeout=20, check=False)


def test_smaller_than_promised(image):
    assert os.path.getsize(image) < BYTES_MAX


def test_name_is_full_in_the_index(blobs):
    index = json.loads(blobs["index.json"])
    assert len(index["manifests"]) == 1
    notes = index["manifests"][0]["annotations"]
    assert notes["io.containerd.image.name"] == NAME
    assert notes["org.opencontainers.image.ref.name"] == NAME


def test_every_blob_is_what_its_name_says(blobs):
    hashed = [name for name in blobs if name.startswith("blobs/sha256/")]
    assert len(hashed) == 4
    for name in hashed:
        assert hashlib.sha256(blobs[name]).hexdigest() == os.path.basename(name)


def test_config_runs_keyturn_as_nobody_special(blobs, manifest):
    config = json.loads(blobs["blobs/sha256/" + manifest["config"]["digest"].split(":")[1]])
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Entrypoint"] == ["/usr/bin/keyturn"]
    layers = [hashlib.sha256(blobs["blobs/sha256/" + layer["digest"].split(":")[1]]).hexdigest()
              for layer in manifest["layers"]]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in layers]


def test_nothing_in_it_is_privileged_or_a_shell(blobs, manifest):
    for layer in manifest["layers"]:
        data = blobs["blobs/sha256/" + layer["digest"].split(":")[1]]
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                assert member.uid == 0 and member.gid == 0, member.name
                assert member.mode & 0o6000 == 0, f"{member.name} is setuid or setgid"
                assert member.issym() or member.mode & 0o022 == 0, f"{member.name} is writable by others"
                assert member.isfile() or member.isdir() or member.issym(), member.name
                if "/bin/" in member.name:
                    assert os.path.basename(member.name) in ("keyturn", "keyturn-verifier")


def test_data_that_programs_look_for(rootfs):
    with open(f"{rootfs}/etc/passwd", encoding="utf-8") as lines:
        assert "keyturn:x:65532:65532:" in lines.read()
    with open(f"{rootfs}/etc/ssl/certs/ca-certificates.crt", encoding="utf-8") as bundle:
        assert bundle.read().count("BEGIN CERTIFICATE") > 50
    with open(f"{rootfs}/usr/share/zoneinfo/Europe/Amsterdam", "rb") as zone:
        assert zone.read(4) == b"TZif"


@pytest.mark.parametrize("program", ["keyturn", "keyturn-verifier"])
def test_programs_start_with_nothing_but_the_image(rootfs, program):
    assert os.path.isfile(f"{rootfs}/usr/bin/{program}"), "not in the image"
    done = in_root(rootfs, f"/usr/bin/{program}", "--version")
    assert done.returncode == 0, done.stdout.decode()
    assert out_of_make("VERSION").split("-dirty")[0] in done.stdout.decode()


def test_libraries_are_all_used(rootfs):
    """No library is carried that the loader does not open for one of the programs."""
    opened = set()
    for program in ("keyturn", "keyturn-verifier"):
        loader = "/usr/lib64/ld-linux-x86-64.so.2" if os.path.exists(
            f"{rootfs}/usr/lib64/ld-linux-x86-64.so.2") else "/usr/lib/ld-linux-aarch64.so.1"
        done = in_root(rootfs, loader, "--list", f"/usr/bin/{program}")
        assert done.returncode == 0 and b"not found" not in done.stdout, done.stdout.decode()
        opened |= {os.path.basename(word) for word in done.stdout.decode().split() if ".so" in word}
    carried = {name for _, _, names in os.walk(f"{rootfs}/usr/lib") for name in names if ".so" in name}
    assert carried - opened <= {"libgcc_s.so.1"}


def test_the_same_bytes_from_another_folder(image, tmp_path):
    """Built again, in a folder of another name, from nothing."""
    other = tmp_path / "a-folder-of-another-name"
    other.mkdir()
    for name in ("Makefile", "pkg", "cmd", "hack", "LICENSE", "NOTICE"):
        source = os.path.join(TOP, name)
        if os.path.isdir(source):
            shutil.copytree(source, other / name, symlinks=True)
        elif os.path.exists(source):
            shutil.copy2(source, other / name)
    make(other, "image", f"IMAGE={NAME}", f"VERSION={out_of_make('VERSION')}",
         SOURCE_DATE_EPOCH=out_of_make("SOURCE_DATE_EPOCH"))
    with open(image, "rb") as first, open(other / "build" / "keyturn-image.tar", "rb") as second:
        assert hashlib.sha256(first.read()).hexdigest() == hashlib.sha256(second.read()).hexdigest()
