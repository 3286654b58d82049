//! Between the wire and the types handlers see.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use csi_proto::plugin::pb;
use prost_types::Timestamp;
use serde_json::{Map, Value};

use crate::backend::{Setup, SpecialPaths};
use crate::dispatch::Call;
use crate::error::Error;
use crate::request::{LeasedSecret, Operation};
use crate::response::{Response, Secret};

/// Go's zero time, year 1. The host refuses a lease without a valid issue time, also in answers.
const GO_ZERO_TIME: Timestamp = Timestamp { seconds: -62_135_596_800, nanos: 0 };

/// Kinds of `pb.ProtoError`, from the hosts' `sdk/plugin/pb/translation.go`.
mod kind {
    pub(super) const UNKNOWN: u32 = 0;
    pub(super) const USER: u32 = 1;
    pub(super) const CODED: u32 = 3;
    pub(super) const UNSUPPORTED_OPERATION: u32 = 5;
    pub(super) const UNSUPPORTED_PATH: u32 = 6;
    pub(super) const PERMISSION_DENIED: u32 = 8;
}

/// Nanoseconds to a duration; negative ones are zero.
pub(crate) fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A JSON object; empty and `null` texts are empty objects.
fn object(text: &str, what: &str) -> Result<Map<String, Value>, Error> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        // The text may hold secrets: it stays out of the message.
        Ok(_) | Err(_) => Err(Error::internal(format!("{what} is not a JSON object"))),
    }
}

/// A request off the wire. Its operation is checked here, its path and fields later.
pub(crate) fn call(request: pb::Request) -> Result<Call, Error> {
    let operation = Operation::parse(&request.operation).ok_or(Error::UnsupportedOperation)?;
    Ok(Call {
        operation,
        data: object(&request.data, "request data")?,
        secret: request.secret.map(leased_secret).transpose()?,
        id: request.id,
        path: request.path,
        mount_point: request.mount_point,
        mount_accessor: request.mount_accessor,
        entity_id: request.entity_id,
        display_name: request.display_name,
    })
}

fn leased_secret(secret: pb::Secret) -> Result<LeasedSecret, Error> {
    let options = secret.lease_options.unwrap_or_default();
    Ok(LeasedSecret {
        internal_data: object(&secret.internal_data, "lease internal data")?,
        lease_id: secret.lease_id,
        ttl: duration(options.ttl),
        max_ttl: duration(options.max_ttl),
        renewable: options.renewable,
        increment: duration(options.increment),
        issue_time: options.issue_time.and_then(system_time),
    })
}

/// Times before 1970 are Go's "no time".
fn system_time(time: Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(time.seconds).ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(time.nanos).ok()?))
}

/// The reply for what a handler returned.
pub(crate) fn reply(result: Result<Option<Response>, Error>) -> pb::HandleRequestReply {
    match result {
        Ok(response) => pb::HandleRequestReply { response: response.map(to_response), err: None },
        // Only a response, not an error, carries a text to a 400.
        Err(Error::BadRequest(text)) => {
            let response = to_response(Response::new().with("error", text));
            pb::HandleRequestReply { response: Some(response), err: None }
        }
        Err(error) => pb::HandleRequestReply { response: None, err: Some(proto_error(&error)) },
    }
}

fn to_response(response: Response) -> pb::Response {
    pb::Response {
        secret: response.secret.map(to_secret),
        // Always JSON: the host parses it unconditionally.
        data: Value::Object(response.data).to_string(),
        warnings: response.warnings,
        ..pb::Response::default()
    }
}

fn to_secret(secret: Secret) -> pb::Secret {
    pb::Secret {
        lease_options: Some(pb::LeaseOptions {
            ttl: nanos(secret.ttl),
            renewable: secret.renewable,
            increment: 0,
            issue_time: Some(GO_ZERO_TIME),
            max_ttl: nanos(secret.max_ttl),
        }),
        internal_data: Value::Object(secret.internal_data).to_string(),
        lease_id: String::new(),
    }
}

/// An error as the framework's protocol has it, outside the answer to a request.
pub(crate) fn proto_error(error: &Error) -> pb::ProtoError {
    let (err_type, err_code) = match error {
        Error::BadRequest(_) => (kind::USER, 0),
        Error::Status { status, .. } => (kind::CODED, i64::from(*status)),
        Error::UnsupportedPath => (kind::UNSUPPORTED_PATH, 0),
        Error::UnsupportedOperation => (kind::UNSUPPORTED_OPERATION, 0),
        Error::PermissionDenied => (kind::PERMISSION_DENIED, 0),
        Error::Storage(_) | Error::System(_) | Error::Internal(_) => (kind::UNKNOWN, 0),
    };
    pb::ProtoError { err_type, err_msg: error.to_string(), err_code }
}

pub(crate) fn setup(args: pb::SetupArgs) -> Setup {
    Setup { config: args.config.into_iter().collect::<BTreeMap<_, _>>(), backend_uuid: args.backend_uuid }
}

pub(crate) fn special_paths(special: &SpecialPaths) -> pb::SpecialPathsReply {
    let paths = pb::Paths {
        root: special.root.clone(),
        unauthenticated: special.unauthenticated.clone(),
        local_storage: special.local_storage.clone(),
        seal_wrap_storage: special.seal_wrap_storage.clone(),
        ..pb::Paths::default()
    };
    pb::SpecialPathsReply { paths: Some(paths) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
    use super::*;
    use crate::StorageError;

    #[test]
    fn data_and_issue_time_are_always_valid() {
        let secret = Secret::new("x", Map::new()).ttl(Duration::from_secs(1), Duration::from_secs(2));
        let reply = reply(Ok(Some(Response::new().with_secret(secret))));
        let response = reply.response.unwrap();
        assert_eq!(response.data, "{}");
        let secret = response.secret.unwrap();
        assert_eq!(secret.internal_data, "{}");
        let lease = secret.lease_options.unwrap();
        assert_eq!(lease.issue_time, Some(GO_ZERO_TIME));
        assert_eq!((lease.ttl, lease.max_ttl), (1_000_000_000, 2_000_000_000));
    }

    #[test]
    fn no_content_is_nothing_at_all() {
        assert_eq!(reply(Ok(None)), pb::HandleRequestReply::default());
    }

    #[test]
    fn errors() {
        let bad = reply(Err(Error::bad_request("no such role")));
        assert_eq!(bad.response.unwrap().data, r#"{"error":"no such role"}"#);
        assert!(bad.err.is_none());
        for (error, kind, code) in [
            (Error::status(503, "later"), 3, 503),
            (Error::UnsupportedOperation, 5, 0),
            (Error::UnsupportedPath, 6, 0),
            (Error::PermissionDenied, 8, 0),
            (Error::internal("x"), 0, 0),
        ] {
            let got = reply(Err(error)).err.unwrap();
            assert_eq!((got.err_type, got.err_code), (kind, code));
        }
    }

    #[test]
    fn storage_texts_stay_verbatim() {
        let storage = StorageError::Host {
            operation: "put",
            key: "wal/1".to_owned(),
            message: "cannot write to readonly storage".to_owned(),
        };
        let got = reply(Err(storage.into())).err.unwrap();
        assert!(got.err_msg.contains("cannot write to readonly storage"), "{}", got.err_msg);
    }

    #[test]
    fn requests() {
        let wire = |data: &str| pb::Request {
            operation: "read".to_owned(),
            data: data.to_owned(),
            secret: Some(pb::Secret {
                lease_options: Some(pb::LeaseOptions {
                    issue_time: Some(GO_ZERO_TIME),
                    ttl: -1,
                    ..Default::default()
                }),
                internal_data: "null".to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        for empty in ["", "null", "{}"] {
            let call = call(wire(empty)).unwrap();
            assert!(call.data.is_empty());
            let secret = call.secret.unwrap();
            assert_eq!((secret.issue_time, secret.ttl), (None, Duration::ZERO));
        }
        for bad in ["[]", "{", "hunter2"] {
            let error = call(wire(bad)).err().unwrap().to_string();
            assert!(!error.contains("hunter2"));
        }
        let unknown = pb::Request { operation: "scan".to_owned(), ..Default::default() };
        assert!(matches!(call(unknown), Err(Error::UnsupportedOperation)));
    }
}
