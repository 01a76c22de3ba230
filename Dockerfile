# docker build --tag emdarks .
# docker run --rm --user "$(id -u)" --volume "$PWD:/data" emdarks noisemaps darks -o maps.fits
FROM python:3.13-slim AS build
# Whichever compiler the base image's Debian has will do.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip wheel --no-cache-dir --wheel-dir /wheels /source

FROM python:3.13-slim
# The wheels are in no layer of this image: they are mounted while they are installed.
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index /wheels/*.whl
# Any user may run it; Matplotlib keeps its list of fonts in the home folder.
ENV HOME=/tmp
USER 1000
WORKDIR /data
ENTRYPOINT ["emdarks"]
CMD ["--help"]
