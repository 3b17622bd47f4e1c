"""The job files for clusters, run with stand-ins for the services' commands; these record their arguments."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).parents[2] / "launch"
ARRAY, NODES, SLICE = LAUNCH / "slurm/array.sbatch", LAUNCH / "slurm/nodes.sbatch", LAUNCH / "tpu/slice.sh"
ARGUMENTS = ["--config=cvc.py", "--workdir=a folder", "--config.models=unet"]
FIRST_TASK = {
    "SLURM_JOB_ID": "77",
    "SLURM_CPUS_PER_TASK": "4",
    "SLURM_ARRAY_JOB_ID": "70",
    "SLURM_ARRAY_TASK_ID": "0",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "3",
    "SLURM_ARRAY_TASK_COUNT": "4",
}
RECORD = """#!/bin/bash
printf '%s\\0' "${0##*/}" "$@" >>"$CALLS"
printf '\\n\\0' >>"$CALLS"
"""
STANDINS = {
    "python": "exit ${CODE:-0}",
    "srun": 'while [[ $1 == --* ]]; do shift; done; sleep ${SRUN_SECONDS:-0}; "$@"',
    "scontrol": "exit ${SCONTROL_CODE:-0}",
    "git": "",
    "rm": "",
    # It fails in the call whose arguments match GCLOUD_FAILS.
    "gcloud": '[[ -z ${GCLOUD_FAILS:-} || "$*" != *$GCLOUD_FAILS* ]] || exit ${CODE:-1}',
}


@pytest.fixture
def services(tmp_path, monkeypatch):
    """Put the stand-ins first on PATH; return a function that reads the calls, a list of arguments each."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in STANDINS.items():
        (folder / name).write_text(RECORD + body + "\n")
        (folder / name).chmod(0o755)
    calls = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(calls))

    def read() -> list[list[str]]:
        text = calls.read_text() if calls.exists() else ""
        return [call.removesuffix("\0").split("\0") for call in text.split("\n\0")[:-1]]

    return read


def submit(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a job file as SLURM does."""
    return subprocess.run(
        ["bash", script, *ARGUMENTS], env={**os.environ, **FIRST_TASK, **environment}, capture_output=True, text=True
    )


def directives(script: Path) -> dict[str, str]:
    """Return the #SBATCH options; SLURM reads them up to the first command."""
    options = {}
    for line in script.read_text().splitlines():
        if line and not line.startswith("#"):
            break
        if line.startswith("#SBATCH "):
            option, _, value = line.removeprefix("#SBATCH ").partition("=")
            options[option] = value
    assert len(options) == script.read_text().count("\n#SBATCH ")
    return options


@pytest.mark.parametrize("script", [ARRAY, NODES, SLICE], ids=lambda path: path.name)
def test_bash_parses_it(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert "\nset -euo pipefail\n" in script.read_text()
    assert script.read_text().startswith(("#!/bin/bash\n", "#!/usr/bin/env bash\n"))


@pytest.mark.parametrize("script", [ARRAY, NODES, SLICE], ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    # pip puts it beside this Python, which need not be on PATH.
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if shellcheck is None:
        pytest.skip("no shellcheck here (the test extra installs it)")
    checked = subprocess.run([shellcheck, "--shell=bash", script], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("script", [ARRAY, NODES], ids=lambda path: path.name)
def test_slurm_is_asked_for_a_signal_and_leave_to_requeue(script):
    options = directives(script)
    assert re.fullmatch(r"TERM@\d+", options["--signal"])  # B: would spare the processes of srun
    assert options["--requeue"] == ""
    assert options["--open-mode"] == "append"
    assert "%A_%a" in options["--output"] if script == ARRAY else "%j" in options["--output"]


def test_nodes_have_a_process_for_each_gpu():
    options = directives(NODES)
    assert options["--gres"] == f"gpu:{options['--ntasks-per-node']}"
    assert "--gpus-per-task" not in options  # it hides the other GPUs, and JAX selects by number among all


@pytest.mark.parametrize("first", [0, 1, 4])
@pytest.mark.parametrize("shard", [0, 1, 3])
def test_array_tasks_are_shards_counted_from_zero(services, first, shard):
    bounds = {"SLURM_ARRAY_TASK_MIN": str(first), "SLURM_ARRAY_TASK_MAX": str(first + 3)}
    done = submit(ARRAY, SLURM_ARRAY_TASK_ID=str(first + shard), **bounds)
    python = ["python", "-m", "launch.cv", f"--shard={shard}/4", *ARGUMENTS]
    assert services() == [["srun", "--cpus-per-task=4", *python], python]
    assert (done.returncode, done.stderr) == (0, "")


def test_array_with_gaps_is_refused(services):
    done = submit(ARRAY, SLURM_ARRAY_TASK_MAX="9", SLURM_ARRAY_TASK_COUNT="4")
    assert done.returncode == 1
    assert done.stderr == "error: 4 tasks between 0 and 9: leave no gaps\n"
    assert services() == []


def test_nodes_run_one_command_on_all_processes(services):
    done = submit(NODES)
    python = ["python", "-m", "launch.cv", "--distributed", *ARGUMENTS]
    assert services() == [["srun", "--kill-on-bad-exit=0", "--wait=0", "--cpus-per-task=4", *python], python]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("code", [0, 1, 2, 75, 130, 137, 143])
@pytest.mark.parametrize(("script", "job"), [(ARRAY, "70_0"), (NODES, "77")], ids=["array", "nodes"])
def test_only_75_requeues_and_the_code_passes_through(services, script, job, code):
    assert submit(script, CODE=str(code)).returncode == code
    requeues = [call for call in services() if call[0] == "scontrol"]
    assert requeues == ([["scontrol", "requeue", job]] if code == 75 else [])


@pytest.mark.parametrize("script", [ARRAY, NODES], ids=lambda path: path.name)
def test_a_refused_requeue_is_said(services, script):
    done = submit(script, CODE="75", SCONTROL_CODE="1")
    assert (done.returncode, done.stderr) == (75, "not requeued: submit it again to go on\n")


@pytest.mark.parametrize("script", [ARRAY, NODES], ids=lambda path: path.name)
def test_the_job_shell_outlives_a_term(services, script):
    """Else preemption ends it before the processes have saved their state, and nothing requeues."""
    shell = subprocess.Popen(
        ["bash", script, *ARGUMENTS], env={**os.environ, **FIRST_TASK, "CODE": "75", "SRUN_SECONDS": "0.5"}
    )
    limit = time.monotonic() + 20
    while not services() and time.monotonic() < limit:
        time.sleep(0.02)
    shell.send_signal(signal.SIGTERM)
    assert shell.wait(timeout=20) == 75
    assert services()[-1][:2] == ["scontrol", "requeue"]


def slice_run(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run slice.sh in a folder of its own: it fetches results into it."""
    script = checkout / "launch/tpu/slice.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SLICE, script)
    settings = {"NAME": "sweep", "ZONE": "us-east5-a", "SHARE": "10.0.0.2:/vol1", "TMPDIR": "/nowhere"}
    return subprocess.run(
        [script, "--config=cvc.py", "--config.models=a b"],
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
    )


def tpu(*arguments: str) -> list[str]:
    return ["gcloud", "compute", "tpus", "tpu-vm", *arguments, "--zone=us-east5-a"]


INSTALL = """set -e
sudo apt-get update -q
sudo apt-get -o DPkg::Lock::Timeout=600 install -yq nfs-common
sudo mkdir -p /mnt/share
mountpoint -q /mnt/share || sudo mount -t nfs 10.0.0.2:/vol1 /mnt/share
sudo install -d -m 777 /mnt/share/sweep
tar -xzf sharp.tar.gz
python3 -m pip install --user --quiet uv
cd sharp
~/.local/bin/uv venv --quiet --python 3.12
~/.local/bin/uv pip install --quiet --editable '.[tpu]'"""
TRAIN = """cd sharp && umask 0 &&
exec .venv/bin/python -m launch.cv --distributed --workdir=/mnt/share/sweep --config=cvc.py --config.models=a\\ b"""
CREATE = tpu("create", "sweep", "--accelerator-type=v6e-16", "--version=v2-alpha-tpuv6e")
DELETE = tpu("delete", "sweep", "--quiet")
SESSION = [
    CREATE,
    ["git", "archive", "--prefix=sharp/", "--output=/nowhere/sweep.tar.gz", "HEAD"],
    tpu("scp", "/nowhere/sweep.tar.gz", "sweep:sharp.tar.gz", "--worker=all"),
    ["rm", "/nowhere/sweep.tar.gz"],
    tpu("ssh", "sweep", "--worker=all", f"--command={INSTALL}"),
    tpu("ssh", "sweep", "--worker=all", f"--command={TRAIN}"),
    tpu("scp", "sweep:/mnt/share/sweep", "work", "--recurse", "--worker=0"),
    DELETE,
]


def test_slice_is_created_used_and_deleted(services, tmp_path):
    done = slice_run(tmp_path)
    assert services() == SESSION
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "work").is_dir()


def test_slice_dry_run_prints_the_same_commands(services, tmp_path):
    done = slice_run(tmp_path, DRY_RUN="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert services() == []
    assert not (tmp_path / "work").exists()
    subprocess.run(["bash", "-c", done.stdout], cwd=tmp_path, check=True)
    assert services() == SESSION


@pytest.mark.parametrize("code", [1, 75])
def test_slice_fetches_and_deletes_after_a_failed_run(services, tmp_path, code):
    assert slice_run(tmp_path, GCLOUD_FAILS="launch.cv", CODE=str(code)).returncode == code
    assert services() == SESSION


def test_slice_is_deleted_where_the_installation_fails(services, tmp_path):
    assert slice_run(tmp_path, GCLOUD_FAILS="apt-get", CODE="3").returncode == 3
    assert services() == [*SESSION[:5], DELETE]


def test_slice_it_did_not_create_is_left_alone(services, tmp_path):
    assert slice_run(tmp_path, GCLOUD_FAILS="create").returncode == 1
    assert services() == [CREATE]


def test_slice_says_what_is_left_to_pay(services, tmp_path):
    done = slice_run(tmp_path, GCLOUD_FAILS="delete")
    assert done.stderr == "sweep is not deleted and costs money\n"


@pytest.mark.parametrize("name", ["NAME", "ZONE", "SHARE"])
def test_slice_asks_for_its_settings(services, tmp_path, name):
    done = slice_run(tmp_path, **{name: ""})
    assert done.returncode != 0
    assert f"{name}: " in done.stderr
    assert services() == []


def manifest(name: str) -> tuple[dict, dict, dict]:
    """Return the specifications of a manifest's JobSet, of its only job, and of that job's pods."""
    document = yaml.safe_load((LAUNCH / "gke" / name).read_text())
    assert (document["apiVersion"], document["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    [replicated] = document["spec"]["replicatedJobs"]
    assert replicated["replicas"] == 1
    job = replicated["template"]["spec"]
    return document["spec"], job, job["template"]["spec"]


def on_exit(job: dict, code: int) -> str | None:
    """Return the action of the job's pod failure policy for a pod that exits with `code`."""
    for rule in job["podFailurePolicy"]["rules"]:
        if code in rule.get("onExitCodes", {}).get("values", []):
            assert rule["onExitCodes"]["operator"] == "In"
            return rule["action"]
    return None


@pytest.mark.parametrize("name", ["jobset.yaml", "jobset-tpu.yaml"])
def test_kubernetes_knows_every_field_of_the_jobs(name):
    schemas = pytest.importorskip("kubernetes_validate", reason="108 MB: pip install kubernetes-validate")
    _, job, _ = manifest(name)
    schemas.validate({"apiVersion": "batch/v1", "kind": "Job", "metadata": {}, "spec": job}, "1.29", strict=True)


@pytest.mark.parametrize("name", ["jobset.yaml", "jobset-tpu.yaml"])
def test_pods_get_term_and_time_and_the_shared_folder(name):
    _, job, pod = manifest(name)
    [container] = pod["containers"]
    assert container["command"] == ["python", "-m", "launch.cv"]  # a shell in between would not pass TERM on
    assert pod["terminationGracePeriodSeconds"] >= 600
    assert pod["restartPolicy"] == "Never"  # a podFailurePolicy is refused with any other
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    names = {rule["onExitCodes"]["containerName"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule}
    assert names == {container["name"]}
    assert job["podFailurePolicy"]["rules"][0]["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    [workdir] = [text for text in container["args"] if text.startswith("--workdir=")]
    [mount], [volume] = container["volumeMounts"], pod["volumes"]
    assert workdir.startswith(f"--workdir={mount['mountPath']}/")
    assert mount["name"] == volume["name"]
    assert volume["persistentVolumeClaim"]["claimName"]


def test_gpu_pods_are_shards_that_stop_and_fail_alone():
    jobset, job, pod = manifest("jobset.yaml")
    [container] = pod["containers"]
    assert f"--shard=$(JOB_COMPLETION_INDEX)/{job['completions']}" in container["args"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 1}
    assert (on_exit(job, 75), on_exit(job, 1), on_exit(job, 137)) == ("Ignore", "FailIndex", None)
    assert job["podFailurePolicy"]["rules"][0]["action"] == "Ignore"
    assert job["backoffLimitPerIndex"] > 0  # FailIndex is refused without it
    assert "failurePolicy" not in jobset  # a failed job fails the set


def test_tpu_pods_fill_a_slice_that_restarts_whole():
    jobset, job, pod = manifest("jobset-tpu.yaml")
    [container] = pod["containers"]
    assert "--distributed" in container["args"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    assert rows * columns == job["completions"] * container["resources"]["limits"]["google.com/tpu"]
    # FailJob has the reason PodFailurePolicy, the only one that restarts the set. Any other failure is final.
    assert (on_exit(job, 75), on_exit(job, 1), job["backoffLimit"]) == ("FailJob", None, 0)
    assert job["podFailurePolicy"]["rules"][0]["action"] == "FailJob"
    [rule] = jobset["failurePolicy"]["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert jobset["failurePolicy"]["maxRestarts"] == 0


IMAGE = (LAUNCH.parent / "Dockerfile").read_text().replace("\\\n", " ")


def test_the_image_copies_what_exists_and_all_that_commands_import():
    copied = re.findall(r"^COPY (.+) \S+$", IMAGE, re.MULTILINE)
    paths = [path for line in copied for path in line.split()]
    assert [path for path in paths if not (LAUNCH.parent / path).exists()] == []
    assert {"launch", "datasets", "sharp_unet_jax"} <= set(paths)
    project = tomllib.loads((LAUNCH.parent / "pyproject.toml").read_text())["project"]
    assert {"pyproject.toml", project["readme"], *project["license-files"]} <= set(paths)  # pip reads them


def test_the_image_has_a_python_that_ci_tests():
    (version,) = re.findall(r"^FROM python:(\d\.\d+)-slim$", IMAGE, re.MULTILINE)
    (tested,) = re.findall(r"^for version in (.+); do$", (LAUNCH.parent / ".ci/run").read_text(), re.MULTILINE)
    assert version in tested.split()


@pytest.mark.parametrize("extra", ["", "cuda", "tpu"])
def test_the_image_installs_extras_that_there_are(extra, tmp_path):
    """The line is run by the shell that Docker takes, with a stand-in for pip."""
    (tmp_path / "pip").write_text('#!/bin/sh\nfor last; do :; done; printf %s "$last"\n')
    (tmp_path / "pip").chmod(0o755)
    (line,) = re.findall(r"^RUN (pip .+)$", IMAGE, re.MULTILINE)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "EXTRA": extra}
    asked = subprocess.run(["/bin/sh", "-c", line], env=environment, capture_output=True, text=True, check=True).stdout
    assert asked == f".[export,dicom{f',{extra}' if extra else ''}]"
    known = tomllib.loads((LAUNCH.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(asked.strip(".[]").split(",")) <= known.keys()


def test_the_image_is_of_a_user_who_may_write_its_home_and_where_it_works():
    (user,) = re.findall(r"^USER (\d+):\d+$", IMAGE, re.MULTILINE)
    (home,) = re.findall(r"^ENV HOME=(\S+)$", IMAGE, re.MULTILINE)
    (made,) = re.findall(r"^RUN mkdir --mode=1777 (.+)$", IMAGE, re.MULTILINE)
    assert int(user) > 0
    assert made.split() == [home, re.findall(r"^WORKDIR (\S+)$", IMAGE, re.MULTILINE)[-1]]


def test_pods_are_root_as_the_folders_of_a_share_may_be():
    manifests = sorted((LAUNCH / "gke").glob("*.yaml"))
    assert len(manifests) == 2
    for manifest in manifests:
        (job,) = yaml.safe_load(manifest.read_text())["spec"]["replicatedJobs"]
        assert job["template"]["spec"]["template"]["spec"]["securityContext"] == {"runAsUser": 0}
