# Written by `cargo xtask images --dockerfiles` from images.toml. The files that are copied:
# `cargo xtask images --context DIR` puts them in a directory.
ARG BASE=scratch
FROM ${BASE}
COPY --chmod=0755 bao /usr/local/bin/bao
COPY --chmod=0755 vault-plugin-secrets-minio /usr/local/lib/openbao/plugins/vault-plugin-secrets-minio
COPY --chmod=0644 ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV TMPDIR="/dev/shm"
LABEL org.opencontainers.image.description="OpenBao with the secrets engine vault-plugin-secrets-minio"
LABEL org.opencontainers.image.title="boathouse-openbao"
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/bao"]
CMD ["server", "-config=/etc/openbao"]
