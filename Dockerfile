# vLLM on a CPU with prune's plug-in, in the environment of `make test-vllm`:
#   docker build -t prune . && docker run -p 8000:8000 -v DIR:/model:ro prune
FROM python:3.11-slim-bookworm
# vLLM compiles for the machine that it runs on.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/prune
COPY . .
RUN tests/vllm/environment.sh /opt/vllm && useradd --create-home --uid 1000 serve
USER 1000
ENV PATH=/opt/vllm/bin:$PATH
EXPOSE 8000
ENTRYPOINT ["vllm", "serve"]
CMD ["/model"]
