# syntax=docker/dockerfile:1
# Two images from one file: `docker/build-images` builds the targets `operator` and `trainer`.
# BASE needs Python 3.11 to 3.13 and nothing else; BUILD_BASE needs pip and venv, too.
ARG BASE=docker.io/library/python:3.12-slim
ARG BUILD_BASE=${BASE}

FROM ${BUILD_BASE} AS build
# Set by docker/build-images where the person has them; never part of an image.
ARG PIP_INDEX_URL
WORKDIR /src
COPY docker/build-requirements.txt requirements/operator.txt requirements/trainer.txt requirements/
RUN python3 -m venv /opt/builder \
 && /opt/builder/bin/pip install --no-cache-dir --require-hashes -r requirements/build-requirements.txt \
 && python3 -m venv --without-pip /opt/haversack
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
COPY trainer trainer
RUN /opt/builder/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels .

FROM build AS build-operator
RUN /opt/builder/bin/pip --python /opt/haversack/bin/python install --no-cache-dir --require-hashes \
      -r requirements/operator.txt \
 && /opt/builder/bin/pip --python /opt/haversack/bin/python install --no-cache-dir --no-deps /wheels/*.whl

FROM build AS build-trainer
# DeepSpeed comes as source; without its CUDA kernels it needs no compiler.
ENV DS_BUILD_OPS=0
RUN /opt/builder/bin/pip --python /opt/haversack/bin/python install --no-cache-dir --require-hashes \
      -r requirements/trainer.txt \
 && /opt/builder/bin/pip --python /opt/haversack/bin/python install --no-cache-dir --no-deps /wheels/*.whl

FROM ${BASE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The base's installer is a build tool: what runs here is what was pinned.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip /usr/local/bin/pip*
COPY docker/healthcheck.py /opt/healthcheck.py
ENV PATH=/opt/haversack/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /
USER 65532:65532

FROM runtime AS operator
LABEL org.opencontainers.image.title="haversack-operator" \
      org.opencontainers.image.description="Places the peers of FineTuneJobs and keeps them as wanted"
COPY --from=build-operator /opt/haversack /opt/haversack
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python3", "/opt/healthcheck.py", "operator"]
ENTRYPOINT ["haversack-operator"]

FROM runtime AS trainer
LABEL org.opencontainers.image.title="haversack-trainer" \
      org.opencontainers.image.description="A peer, or the hub, of a FineTuneJob"
COPY --from=build-trainer /opt/haversack /opt/haversack
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python3", "/opt/healthcheck.py", "trainer"]
ENTRYPOINT ["haversack-trainer"]
