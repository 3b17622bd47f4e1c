# An image for users and for the job files of launch/gke, built in the checkout (docs/running.md says how it is run):
#
#   docker build --tag=sharp-unet .
#   docker build --tag=sharp-unet:cuda --build-arg=EXTRA=cuda .
#
# EXTRA is an extra of pyproject.toml: cuda for NVIDIA GPUs, tpu for TPUs, nothing for CPUs.
FROM python:3.12-slim
ARG EXTRA=""
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY sharp_unet_jax sharp_unet_jax
COPY datasets datasets
COPY launch launch
RUN pip install --no-cache-dir --editable ".[export,dicom${EXTRA:+,$EXTRA}]"
# Commands run in any folder. GKE mounts the GPU's driver at the second path.
ENV PYTHONPATH=/app LD_LIBRARY_PATH=/usr/local/nvidia/lib64
# Whoever `docker run --user` names may write its home: built data sets and compiled programs are kept there.
ENV HOME=/home/user
RUN mkdir --mode=1777 /home/user /work
USER 1000:1000
WORKDIR /work
CMD ["python", "-m", "launch"]
