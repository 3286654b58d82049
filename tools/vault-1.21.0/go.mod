// Regenerate go.sum with `GOFLAGS=-mod=mod go list -deps github.com/hashicorp/vault`. There is no Go file here: the
// package to build is named on the command line. api and sdk are named because without them newer ones win; the
// replacements are those of Vault's own go.mod, which a module that requires it does not inherit.

module boathouse-tools-vault-1.21.0

go 1.25.1

require (
	github.com/hashicorp/vault v1.21.0
	github.com/hashicorp/vault/api v1.22.0
	github.com/hashicorp/vault/sdk v0.20.0
)

replace github.com/99designs/keyring => github.com/Jeffail/keyring v1.2.3

replace github.com/ma314smith/signedxml v1.1.1 => github.com/moov-io/signedxml v1.1.1
