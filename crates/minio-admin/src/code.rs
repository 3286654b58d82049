//! MinIO's error codes.

use std::fmt;

/// MinIO's error codes, as far as callers tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// `XMinioAdminNoSuchUser`.
    NoSuchUser,
    /// `XMinioAdminNoSuchGroup`.
    NoSuchGroup,
    /// `XMinioAdminNoSuchPolicy`.
    NoSuchPolicy,
    /// `XMinioAdminNoSuchAccessKey`.
    NoSuchAccessKey,
    /// `XMinioInvalidIAMCredentials`: with status 404 an access key that does not exist.
    InvalidIamCredentials,
    /// `XMinioIAMActionNotAllowed`: not on this kind of account, or not with this kind of login system.
    ActionNotAllowed,
    /// `XMinioIAMPolicyInUse`: a policy that users still have.
    PolicyInUse,
    /// `XMinioMalformedIAMPolicy`: JSON, but not a policy.
    MalformedPolicy,
    /// `XMinioAdminInvalidAccessKey`: a name MinIO does not take.
    InvalidAccessKey,
    /// `XMinioAdminInvalidSecretKey`: a secret MinIO does not take.
    InvalidSecretKey,
    /// `XMinioAdminConfigBadJSON`: the body is malformed, or does not decrypt.
    ConfigBadJson,
    /// `AccessDenied`: the calling user lacks the right.
    AccessDenied,
    /// `InvalidAccessKeyId`: no such calling user.
    InvalidAccessKeyId,
    /// `SignatureDoesNotMatch`: wrong secret key, or a proxy changed the request.
    SignatureDoesNotMatch,
    /// `RequestTimeTooSkewed`: the clocks differ by more than 15 minutes.
    RequestTimeTooSkewed,
    /// `XMinioAdminVersionMismatch`: the server does not speak this version of the API.
    VersionMismatch,
    /// `XMinioServerNotInitialized`, `XMinioIAMNotInitialized`: still starting.
    NotInitialized,
    /// `SlowDown`, `SlowDownRead`, `SlowDownWrite`, `RequestTimeout`, `Throttling…`.
    SlowDown,
    /// Any other.
    Other(String),
}

/// Those with one name.
const NAMES: [(&str, Code); 16] = [
    ("XMinioAdminNoSuchUser", Code::NoSuchUser),
    ("XMinioAdminNoSuchGroup", Code::NoSuchGroup),
    ("XMinioAdminNoSuchPolicy", Code::NoSuchPolicy),
    ("XMinioAdminNoSuchAccessKey", Code::NoSuchAccessKey),
    ("XMinioInvalidIAMCredentials", Code::InvalidIamCredentials),
    ("XMinioIAMActionNotAllowed", Code::ActionNotAllowed),
    ("XMinioIAMPolicyInUse", Code::PolicyInUse),
    ("XMinioMalformedIAMPolicy", Code::MalformedPolicy),
    ("XMinioAdminInvalidAccessKey", Code::InvalidAccessKey),
    ("XMinioAdminInvalidSecretKey", Code::InvalidSecretKey),
    ("XMinioAdminConfigBadJSON", Code::ConfigBadJson),
    ("AccessDenied", Code::AccessDenied),
    ("InvalidAccessKeyId", Code::InvalidAccessKeyId),
    ("SignatureDoesNotMatch", Code::SignatureDoesNotMatch),
    ("RequestTimeTooSkewed", Code::RequestTimeTooSkewed),
    ("XMinioAdminVersionMismatch", Code::VersionMismatch),
];

impl Code {
    pub(crate) const fn is_temporary(&self) -> bool {
        matches!(self, Self::NotInitialized | Self::SlowDown)
    }
}

impl From<&str> for Code {
    fn from(name: &str) -> Self {
        match name {
            "XMinioServerNotInitialized" | "XMinioIAMNotInitialized" => Self::NotInitialized,
            "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "RequestTimeout" => Self::SlowDown,
            name if name.starts_with("Throttling") => Self::SlowDown,
            name => NAMES
                .into_iter()
                .find_map(|(known, code)| (known == name).then_some(code))
                .unwrap_or_else(|| Self::Other(name.to_owned())),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInitialized => f.write_str("not initialized"),
            Self::SlowDown => f.write_str("SlowDown"),
            Self::Other(name) => f.write_str(name),
            code => f.write_str(NAMES.iter().find(|(_, known)| known == code).map_or("", |(name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_name() {
        for (name, code) in NAMES {
            assert_eq!(Code::from(name), code);
            assert_eq!(code.to_string(), name);
        }
        assert_eq!(Code::from("XMinioSomethingNew").to_string(), "XMinioSomethingNew");
        for passing in ["XMinioIAMNotInitialized", "SlowDownRead", "ThrottlingException"] {
            assert!(Code::from(passing).is_temporary(), "{passing}");
        }
    }
}
