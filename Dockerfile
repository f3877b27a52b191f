# tada on a CPU: docker build -t tada . && docker run --rm -v "$PWD:/data" tada classify video.mp4
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.13-slim
COPY --from=build /wheels /wheels
# PyTorch's own CPU build comes first, or pip takes the one with CUDA.
ARG TORCH_INDEX
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch torchvision \
    && pip install --no-cache-dir /wheels/*.whl && rm -r /wheels
RUN useradd --create-home tada && mkdir /data && chown tada /data
USER tada
WORKDIR /data
ENTRYPOINT ["tada"]
CMD ["--help"]
