//! The integration suite is `tests/suite`: one OpenBao, one MinIO, real goofys, the programs as shipped.
//!
//! `cargo xtask test --only integration` runs it; behind `--` come the usual filters of `cargo test`.
