# One broker. Settings are environment variables (docs/configuration.md), e.g. OTTLA_NODE_ID=1;
# docker-compose.yml runs three.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
RUN python -m venv --without-pip /opt/ottla
# What it depends on changes less often than it does itself: a layer of its own.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt \
 && pip --python /opt/ottla/bin/python install --no-cache-dir --no-compile -c constraints.txt -r requirements.txt
COPY README.md LICENSE ./
COPY ottla ottla
RUN pip --python /opt/ottla/bin/python install --no-cache-dir --no-compile --no-deps . \
 && /opt/ottla/bin/python -m compileall -q -j 0 /opt/ottla/lib

FROM python:3.11-slim-bookworm
RUN groupadd --system --gid 10001 ottla \
 && useradd --system --uid 10001 --gid ottla --home-dir /var/lib/ottla --shell /usr/sbin/nologin ottla \
 && install -d -o ottla -g ottla -m 0750 /var/lib/ottla
COPY --from=build /opt/ottla /opt/ottla
ENV PATH=/opt/ottla/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    OTTLA_LOG_DIR=/var/lib/ottla \
    OTTLA_GRPC_LISTEN=0.0.0.0:7092 \
    OTTLA_HTTP_LISTEN=0.0.0.0:8092 \
    OTTLA_LISTENERS=PLAINTEXT://0.0.0.0:9092
USER ottla
VOLUME /var/lib/ottla
EXPOSE 7092 8092 9092
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-S", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8092, timeout=3); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["ottla"]
CMD ["broker"]
