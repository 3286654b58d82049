//! Tests of what is deployed, in `chart/`: the real helm and kustomize render it, and what comes out is compared with
//! the files in `golden/`.
//!
//! `BLESS=1 cargo test -p boathouse-deploy -- --include-ignored` writes golden files, the kustomize base and the table
//! in docs/install.md anew; `git diff` then shows what a change does.
