//! Flags and environment of `boathouse-controller`.

use boathouse_service::logs::LogArgs;
use boathouse_service::uds::Endpoint as Socket;
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use volume_spec::{BucketName, Endpoint, Region};

/// The CSI controller plugin of boathouse.statcan.gc.ca: makes a prefix in a bucket for every
/// PersistentVolumeClaim. Never deletes an object: DeleteVolume keeps the data.
#[derive(Clone, Debug, Parser)]
#[command(name = "boathouse-controller", version, after_help = KEYS_HELP)]
pub struct Args {
    /// Unix socket to serve CSI on, for the sidecars of this pod; made with mode 0600
    #[arg(long, env = "CSI_ENDPOINT", value_name = "SOCKET", default_value = "unix:///csi/csi.sock")]
    pub endpoint: Socket,

    /// Bucket volumes may be made in; repeat the flag, or separate names with commas. A StorageClass chooses
    /// with its `bucket` parameter; when there is only one it need not
    #[arg(
        long = "bucket",
        env = "BOATHOUSE_BUCKETS",
        value_name = "NAME",
        value_delimiter = ',',
        required = true
    )]
    pub buckets: Vec<BucketName>,

    /// S3 server of StorageClasses without an `endpoint` parameter, such as `https://minio.example:9000`
    #[arg(long, env = "BOATHOUSE_S3_ENDPOINT", value_name = "URL")]
    pub s3_endpoint: Option<Endpoint>,

    /// Region of StorageClasses without a `region` parameter
    #[arg(long, env = "BOATHOUSE_S3_REGION", value_name = "REGION", default_value = "us-east-1")]
    pub s3_region: Region,

    /// PEM bundle of the only authorities to trust for https S3 servers; the system's without it
    #[arg(long, env = "BOATHOUSE_S3_CA_FILE", value_name = "FILE")]
    pub s3_ca_file: Option<PathBuf>,

    /// File that holds the controller's S3 access key id; read at every call, so that it may be replaced
    #[arg(long, env = "BOATHOUSE_ACCESS_KEY_FILE", value_name = "FILE", requires = "secret_key_file")]
    pub access_key_file: Option<PathBuf>,

    /// File that holds the controller's S3 secret access key
    #[arg(long, env = "BOATHOUSE_SECRET_KEY_FILE", value_name = "FILE", requires = "access_key_file")]
    pub secret_key_file: Option<PathBuf>,

    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "BOATHOUSE_METRICS_ADDR", value_name = "ADDR", default_value = "127.0.0.1:9811")]
    pub metrics_addr: SocketAddr,

    /// How and what to log
    #[command(flatten)]
    pub log: LogArgs,
}

const KEYS_HELP: &str = "\
S3 keys, the first that is there:
  1. accessKeyId and secretAccessKey in the Secret that the StorageClass names
     (csi.storage.k8s.io/provisioner-secret-name)
  2. --access-key-file and --secret-key-file
  3. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment
They need s3:ListBucket on the buckets, s3:GetObject and s3:PutObject on .boathouse/volumes/*,
and s3:PutObject on the volumes' folders. They are never given to pods.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn bad_values_are_refused_with_the_reason() {
        let parse = |args: &[&str]| Args::try_parse_from([&["boathouse-controller"], args].concat());
        assert_eq!(parse(&["--bucket", "data,more", "--bucket", "last"]).unwrap().buckets.len(), 3);
        for (args, reason) in [
            (&["--bucket", "--data"][..], "--bucket"),
            (&["--bucket", "Data"], "uppercase"),
            (&["--bucket", "data", "--s3-endpoint", "minio:9000"], "scheme"),
            (&["--bucket", "data", "--access-key-file", "/k"], "--secret-key-file"),
            (&["--bucket", "data", "--endpoint", "tcp://0.0.0.0:1"], "absolute socket path"),
        ] {
            let err = parse(args).unwrap_err().to_string();
            assert!(err.contains(reason), "{args:?}: {err}");
        }
    }
}
