# SPDX-License-Identifier: Apache-2.0
"""Where `cluster` puts its control groups on machines other than this one: plain files stand for the kernel's."""
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
CONTROLLERS = "cpuset cpu io memory hugetlb pids rdma misc"


def cgroups(root, command, *mounts):
    """Runs a function of tests/cluster/cgroups on a tree below root. mounts: (folder, type) as in /proc/self/mounts."""
    (root / "mounts").write_text("".join(f"none {root / 'cgroup' / folder} {kind} rw 0 0\n" for folder, kind in mounts))
    script = ('set -euo pipefail; die() { echo "$*" >&2; exit 1; }; N=7; . "$0"; CGROUP_ROOT=$1/cgroup MOUNTS=$1/mounts; ' + command)
    return subprocess.run(["bash", "-c", script, HERE / "cgroups", root], capture_output=True, text=True, check=False)


def files(root, folder, **texts):
    """A group of the kernel's, with the files it would have."""
    group = root / "cgroup" / folder
    group.mkdir(parents=True)
    for name, text in texts.items():
        (group / name.replace("__", ".")).write_text(text)
    return group


def unified(root):
    """A machine with v2 alone, as systemd leaves it."""
    tree = files(root, ".", cgroup__controllers=CONTROLLERS, cgroup__subtree_control="", cgroup__procs="1\n")
    for folder in ("init.scope", "system.slice", "user.slice", "sys-kernel-debug.mount"):
        files(root, folder, cgroup__controllers="cpu memory pids", cgroup__subtree_control="", cgroup__procs="")
    files(root, "testcluster-7", cgroup__controllers=CONTROLLERS, cgroup__subtree_control="")
    return tree


def test_v2_is_one_hierarchy_that_hands_its_controllers_down(tmp_path):
    tree = unified(tmp_path)
    done = cgroups(tmp_path, "make_cgroups; cgroups", (".", "cgroup2"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tree / "testcluster-7")]
    assert [path.relative_to(tree).as_posix() for path in tree.rglob("own")] == ["testcluster-7/own"]
    asked = [f"+{name}" for name in CONTROLLERS.split()]
    for group in (tree, tree / "testcluster-7"):
        assert (group / "cgroup.subtree_control").read_text().split() == asked
    assert (tree / "system.slice" / "cgroup.subtree_control").read_text() == ""


def test_a_controller_that_is_not_handed_down_is_an_error_with_its_repair(tmp_path):
    tree = unified(tmp_path)
    (tree / "cgroup.subtree_control").unlink()
    (tree / "cgroup.subtree_control").mkdir()  # no write succeeds, as in a container whose processes are in its root group
    done = cgroups(tmp_path, "make_cgroups", (".", "cgroup2"))
    assert done.returncode == 1
    assert "does not hand down the controller cpuset" in done.stderr and "cgroup.procs" in done.stderr


def test_v1_and_hybrid_have_a_group_in_each_hierarchy(tmp_path):
    files(tmp_path, "cpuset", cgroup__procs="", cpuset__cpus="0-1", cpuset__mems="0")
    files(tmp_path, "memory", cgroup__procs="")
    files(tmp_path, "unified", cgroup__procs="", cgroup__controllers="", cgroup__subtree_control="")
    files(tmp_path, "unified/testcluster-7", cgroup__controllers="", cgroup__subtree_control="")
    files(tmp_path, "unified/other", cgroup__procs="")
    mounts = (("cpuset", "cgroup"), ("memory", "cgroup"), ("unified", "cgroup2"), ("elsewhere", "tmpfs"))
    done = cgroups(tmp_path, "make_cgroups; enter_cgroups 42; members", *mounts)
    assert (done.returncode, done.stdout.split()) == (0, ["42"]), done.stderr
    tree = tmp_path / "cgroup"
    assert {path.relative_to(tree).as_posix() for path in tree.rglob("own")} == {f"{name}/testcluster-7/own" for name in
                                                                                  ("cpuset", "memory", "unified")}
    for group in ("testcluster-7", "testcluster-7/own"):
        assert (tree / "cpuset" / group / "cpuset.cpus").read_text() == "0-1"
        assert (tree / "cpuset" / group / "cpuset.mems").read_text() == "0"
