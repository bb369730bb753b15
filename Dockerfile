# syntax=docker/dockerfile:1
#
#   docker build --build-arg REVISION=$(git rev-parse HEAD) --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) -t curb .
#
# A release names both images by digest, --build-arg BASE_IMAGE=..@sha256:.., and signs what comes out.
# The build takes about 20 minutes on two cores: DataFusion and librdkafka are compiled, with OpenSSL built in.

ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm
# glibc, libgcc and certificates of authorities; no shell, no package manager. Its glibc must not be older than the builder's.
# Not static: with musl the C of librdkafka, OpenSSL and zstd would have to be built by a compiler for it, nothing of what is tested here
# would be what runs, and all that a static image lacks beside this one are glibc and libgcc.
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
WORKDIR /src
COPY . .
# Paths of the builder are no part of the program, so that the same sources give the same bytes wherever they are built.
# With --build-arg AUDITABLE=0.7.7 the program itself says what it is made of, beside the bill of materials: `cargo audit bin` reads it
# from a program that has lost its image. tests/image/run holds it against the bill where it is there.
ARG AUDITABLE=
ENV CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0 SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} \
    RUSTFLAGS="--remap-path-prefix=/src=curb --remap-path-prefix=/usr/local/cargo/registry/src=crates"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    if [ -n "$AUDITABLE" ]; then cargo install -q cargo-auditable --version "$AUDITABLE" --locked; fi && \
    cargo ${AUDITABLE:+auditable} build --release --locked --features otlp --bin curb && \
    helm/image/build target/release/curb /image "$(rustc -vV | sed -n 's/^host: //p')"

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="curb" \
      org.opencontainers.image.description="SQL rules over Kafka topics, exactly once, in one binary" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image /
# The folder of the volume is the user's. It is there already, and an owner is given only to what lies in the folder that is copied: so the
# one above it is.
COPY --from=build --chown=10001:10001 /image/var/lib /var/lib
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["curb"]
CMD ["--help"]
