# syntax=docker/dockerfile:1

# By its digest: a tag may be given to another image any day. `docker buildx imagetools inspect TAG` shows a newer one's.
ARG PYTHON_IMAGE=python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
COPY build.lock ./
# uv and what builds the package, by their hashes.
RUN pip install --no-cache-dir --require-hashes --no-deps --requirement build.lock
ENV UV_PROJECT_ENVIRONMENT=/app/.venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
RUN uv venv /app/.venv
# The dependencies change less often than the code, so they come first. requirements.lock holds those of development too;
# as constraints its versions and hashes bind only what the service itself asks for.
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN mkdir -p src/kiqstart && touch src/kiqstart/__init__.py \
    && uv build --wheel --build-constraints build.lock --require-hashes --out-dir /dist/empty \
    && uv pip install --python /app/.venv --constraints requirements.lock --group service "$(ls /dist/empty/*.whl)[dashboard,encryption]"
COPY src/kiqstart src/kiqstart
RUN uv build --wheel --build-constraints build.lock --require-hashes --out-dir /dist \
    && uv pip install --python /app/.venv --no-deps --reinstall-package kiqstart /dist/*.whl

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home kiqstart
COPY --from=build /app/.venv /app/.venv
COPY src/todo_service /app/src/todo_service
COPY migrations /app/migrations
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app/src PYTHONUNBUFFERED=1 LOG_FORMAT=json KIQSTART_APP=todo_service.ioc.app:create_app
WORKDIR /app
USER kiqstart
# Named by compose.yaml: the worker, the scheduler, or `kiqstart migrate`.
CMD ["kiqstart", "worker", "--no-configure-logging"]
