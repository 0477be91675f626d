# syntax=docker/dockerfile:1

FROM python:3.13-slim AS build
RUN pip install --no-cache-dir uv
ENV UV_PROJECT_ENVIRONMENT=/app/.venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /build
RUN uv venv /app/.venv
# The dependencies change less often than the code, so they come first. requirements.lock holds those of development too;
# as constraints its versions and hashes bind only what the service itself asks for.
COPY pyproject.toml requirements.lock README.md LICENSE ./
RUN mkdir -p src/kiqstart migrations && touch src/kiqstart/__init__.py \
    && uv pip install --python /app/.venv --constraints requirements.lock .
COPY src src
COPY migrations migrations
RUN uv pip install --python /app/.venv --no-deps --reinstall-package kiqstart .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home kiqstart
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 LOG_FORMAT=json
WORKDIR /app
USER kiqstart
# Named by compose.yaml: the worker, the scheduler, or `kiqstart migrate`.
CMD ["kiqstart", "worker", "--no-configure-logging"]
