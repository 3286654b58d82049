# Written by `cargo xtask images --dockerfiles` from images.toml. The files that are copied:
# `cargo xtask images --context DIR` puts them in a directory.
ARG BASE=scratch
FROM ${BASE}
COPY --chmod=0755 boathouse-webhook /usr/local/bin/boathouse-webhook
LABEL org.opencontainers.image.description="Boathouse mutating webhook"
LABEL org.opencontainers.image.title="boathouse-webhook"
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/boathouse-webhook"]
CMD ["serve"]
