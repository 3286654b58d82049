# Written by `cargo xtask images --dockerfiles` from images.toml. The files that are copied:
# `cargo xtask images --context DIR` puts them in a directory.
ARG BASE=scratch
FROM ${BASE}
COPY --chmod=0755 boathouse-node /usr/local/bin/boathouse-node
COPY --chmod=0755 boathouse-keeper /usr/local/bin/boathouse-keeper
COPY --chmod=0755 goofys /usr/local/bin/goofys
COPY --chmod=0755 boathouse /usr/local/bin/boathouse
COPY --chmod=0644 ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
LABEL org.opencontainers.image.description="Boathouse CSI node plugin with keeper, goofys and the FlexVolume driver"
LABEL org.opencontainers.image.title="boathouse-node"
USER 0:0
ENTRYPOINT ["/usr/local/bin/boathouse-node"]
