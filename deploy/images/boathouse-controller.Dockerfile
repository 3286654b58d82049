# Written by `cargo xtask images --dockerfiles` from images.toml. The files that are copied:
# `cargo xtask images --context DIR` puts them in a directory.
ARG BASE=scratch
FROM ${BASE}
COPY --chmod=0755 boathouse-controller /usr/local/bin/boathouse-controller
COPY --chmod=0644 ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
LABEL org.opencontainers.image.description="Boathouse CSI controller plugin"
LABEL org.opencontainers.image.title="boathouse-controller"
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/boathouse-controller"]
