// Regenerate go.sum with `GOFLAGS=-mod=mod go list -deps github.com/hashicorp/vault`. There is no Go file here: the
// package to build is named on the command line. api and sdk are named because without them newer ones win.

module boathouse-tools-vault-1.4.0

go 1.13

require (
	github.com/hashicorp/vault v1.4.0
	github.com/hashicorp/vault/api v1.0.5-0.20200317185738-82f498082f02
	github.com/hashicorp/vault/sdk v0.1.14-0.20200406173424-43a93d4a43b1
)
