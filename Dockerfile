# The node, its command line and the testnet tools. See docs/containers.md.
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends build-essential libgmp-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN python -m venv /opt/nexus && /opt/nexus/bin/pip install --no-cache-dir '.[libp2p]'

FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgmp10 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home nexus \
 && install --directory --owner nexus --mode 0700 /net
COPY --from=build /opt/nexus /opt/nexus
ENV PATH=/opt/nexus/bin:$PATH
USER nexus
VOLUME /net
EXPOSE 7100/udp 8000/tcp 2500/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["nexus"]
