# SPDX-License-Identifier: Apache-2.0
"""What the linker and the compiler were told about the binaries, read back from the binaries: those of `make release` and those in
the image. A small program built without any of it shows that each finding can be seen."""
import os
import re
import subprocess

import pytest

PROGRAMS = ("keyturn", "keyturn-verifier")


def readelf(*args):
    return subprocess.run(["readelf", "-W", *args], check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "LC_ALL": "C.UTF-8"}).stdout


def weaknesses(path):
    """What this binary lacks, in the order of a list that a person would keep."""
    header, segments, dynamic, symbols = (readelf(what, path) for what in ("-h", "-l", "-d", "--dyn-syms"))
    stack = re.search(r"GNU_STACK.*\s(R\S*)\s+0x", segments)
    held = {
        "position-independent": "Type:                              DYN" in header and re.search(r"FLAGS_1.*\bPIE\b", dynamic),
        "read-only relocations": "GNU_RELRO" in segments,
        "bound at start": re.search(r"\(FLAGS\).*\bBIND_NOW\b", dynamic) and re.search(r"FLAGS_1.*\bNOW\b", dynamic),
        "stack not executable": stack and "E" not in stack[1],
        "no segment writable and executable": not re.search(r"\bRWE\b", segments),
        "stack protector": "__stack_chk_fail" in symbols,
        "checked functions of libc": re.search(r"__(memcpy|snprintf|vsnprintf)_chk", symbols),
        "no path of libraries": not re.search(r"\((RPATH|RUNPATH)\)", dynamic),
        "no text relocations": "TEXTREL" not in dynamic,
    }
    return [what for what, good in held.items() if not good]


@pytest.mark.parametrize("program", PROGRAMS)
def test_release_is_hardened(release, program):
    assert weaknesses(f"{release}/{program}") == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_image_is_hardened(rootfs, program):
    assert weaknesses(f"{rootfs}/usr/bin/{program}") == []


def test_a_soft_program_is_seen(tmp_path):
    source = tmp_path / "soft.c"
    source.write_text('#include <stdio.h>\nint main(int argc, char **argv)\n{\n    char text[64];\n'
                      '    sprintf(text, "%d %s", argc, argv[0]);\n    return puts(text);\n}\n')
    subprocess.run(["gcc", "-O2", "-no-pie", "-fno-pie", "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-Wl,-z,norelro,-z,lazy",
                    "-z", "execstack", "-Wl,-rpath,/tmp", "-o", tmp_path / "soft", source], check=True)
    assert weaknesses(tmp_path / "soft") == [
        "position-independent", "read-only relocations", "bound at start", "stack not executable",
        "no segment writable and executable", "stack protector", "checked functions of libc", "no path of libraries"]
