#!/usr/bin/env bash
# A sweep on a Cloud TPU slice: create the slice, install, run on all workers, fetch the results, delete the slice.
#
#   NAME=sweep ZONE=us-east5-a SHARE=10.0.0.2:/vol1 launch/tpu/slice.sh \
#     --config=cvc.py --config.data.manual_dir=/mnt/share/downloads
#
# SHARE is an NFS export (Filestore) in the slice's network. The workers keep the workdir there, in /mnt/share/NAME: it
# outlives the slice, so the same command goes on from it after a preemption. The slice is deleted however this script
# ends. The connection must last for the whole run (tmux). TYPE and VERSION choose another TPU and its image. DRY_RUN=1
# prints the commands instead of running them.
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${NAME:?the name to give the slice}" "${ZONE:?a zone that has the TPU}" "${SHARE:?an NFS export, HOST:/PATH}"
: "${1:?the arguments of launch.cv, such as --config=cvc.py}"
type=${TYPE:-v6e-16}
version=${VERSION:-v2-alpha-tpuv6e}
archive=${TMPDIR:-/tmp}/$NAME.tar.gz
printf -v arguments ' %q' "$@"

run() {
  if [ "${DRY_RUN:-}" = 1 ]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

tpu() { # run a gcloud command on this slice
  local verb=$1
  shift
  run gcloud compute tpus tpu-vm "$verb" "$@" --zone="$ZONE"
}

tpu create "$NAME" --accelerator-type="$type" --version="$version"
# Set after create: if the name is taken, create fails, and the slice is somebody else's.
trap 'tpu delete "$NAME" --quiet || echo "$NAME is not deleted and costs money" >&2' EXIT

run git archive --prefix=sharp/ --output="$archive" HEAD
tpu scp "$archive" "$NAME:sharp.tar.gz" --worker=all
run rm "$archive"
# uv brings its own Python: the image's may be older than 3.11. Anyone may write to the workdir: the numeric id of a user
# may differ between workers.
tpu ssh "$NAME" --worker=all --command="set -e
sudo apt-get update -q
sudo apt-get -o DPkg::Lock::Timeout=600 install -yq nfs-common
sudo mkdir -p /mnt/share
mountpoint -q /mnt/share || sudo mount -t nfs $SHARE /mnt/share
sudo install -d -m 777 /mnt/share/$NAME
tar -xzf sharp.tar.gz
python3 -m pip install --user --quiet uv
cd sharp
~/.local/bin/uv venv --quiet --python 3.12
~/.local/bin/uv pip install --quiet --editable '.[tpu]'"

code=0 # else the code of the first worker that failed
tpu ssh "$NAME" --worker=all --command="cd sharp && umask 0 &&
exec .venv/bin/python -m launch.cv --distributed --workdir=/mnt/share/$NAME$arguments" || code=$?
run mkdir -p work
tpu scp "$NAME:/mnt/share/$NAME" work --recurse --worker=0 || code=$((code ? code : 1))
exit "$code"
