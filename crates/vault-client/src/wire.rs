//! From answers to types. Fields are taken one by one so that an error can name the field without quoting the
//! answer, which a deserializer's message would.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::error::VaultError;
use crate::transport::Call;
use crate::types::{Health, Leased, S3Credentials, Session, TokenInfo};

/// One JSON object of an answer, with the way to it for error texts.
struct Object<'a> {
    call: &'a Call<'a>,
    prefix: &'static str,
    fields: Map<String, Value>,
}

impl<'a> Object<'a> {
    fn parse(call: &'a Call<'a>, body: &[u8]) -> Result<Self, VaultError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self { call, prefix: "", fields }),
            Ok(_) => Err(call.bad_response("it is JSON but not an object")),
            Err(_) => Err(call.bad_response("it is not JSON; is the address really Vault's?")),
        }
    }

    fn child(&mut self, name: &'static str) -> Result<Self, VaultError> {
        match self.fields.get_mut(name) {
            Some(Value::Object(fields)) => {
                Ok(Self { call: self.call, prefix: name, fields: std::mem::take(fields) })
            }
            _ => Err(self.wrong(name, "an object")),
        }
    }

    fn wrong(&self, name: &str, kind: &str) -> VaultError {
        let dot = if self.prefix.is_empty() { "" } else { "." };
        let state = match self.fields.get(name) {
            None => "is missing",
            Some(Value::Null) => "is null",
            Some(_) => "has another type or is empty",
        };
        self.call.bad_response(format!("{}{dot}{name} {state}, expected {kind}", self.prefix))
    }

    /// Required and not empty.
    fn text(&mut self, name: &str) -> Result<String, VaultError> {
        match self.fields.get_mut(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(std::mem::take(text)),
            _ => Err(self.wrong(name, "text")),
        }
    }

    /// Missing, null and empty are all "no".
    fn optional_text(&mut self, name: &str) -> Result<Option<String>, VaultError> {
        match self.fields.get_mut(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(std::mem::take(text)).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong(name, "text")),
        }
    }

    fn seconds(&self, name: &str) -> Result<Duration, VaultError> {
        let seconds = self.fields.get(name).and_then(Value::as_u64);
        seconds.map(Duration::from_secs).ok_or_else(|| self.wrong(name, "a number of seconds"))
    }

    fn flag(&self, name: &str) -> Result<bool, VaultError> {
        self.fields.get(name).and_then(Value::as_bool).ok_or_else(|| self.wrong(name, "true or false"))
    }

    /// Informative only, so anything unexpected is left out.
    fn texts(&self, name: &str) -> Vec<String> {
        let items = self.fields.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Informative only, so anything unexpected is left out.
    fn text_map(&self, name: &str) -> BTreeMap<String, String> {
        let items = self.fields.get(name).and_then(Value::as_object).into_iter().flatten();
        items.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }
}

pub(crate) fn session(call: &Call<'_>, body: Vec<u8>) -> Result<Session, VaultError> {
    let mut auth = Object::parse(call, &body)?.child("auth")?;
    Ok(Session {
        token: SecretString::from(auth.text("client_token")?),
        accessor: auth.text("accessor")?,
        entity_id: auth.optional_text("entity_id")?.unwrap_or_default(),
        lease_duration: auth.seconds("lease_duration")?,
        renewable: auth.flag("renewable")?,
        policies: auth.texts("policies"),
        metadata: auth.text_map("metadata"),
    })
}

pub(crate) fn leased(call: &Call<'_>, body: Vec<u8>) -> Result<Leased, VaultError> {
    let mut answer = Object::parse(call, &body)?;
    if matches!(answer.fields.get("lease_id"), Some(Value::String(id)) if id.is_empty()) {
        return Err(
            call.bad_response("lease_id is empty: the path does not lead to a dynamic secrets engine")
        );
    }
    let lease_id = answer.text("lease_id")?;
    let lease_duration = answer.seconds("lease_duration")?;
    if lease_duration.is_zero() {
        return Err(call.bad_response("lease_duration is zero, the keys would already be gone"));
    }
    let mut data = answer.child("data")?;
    Ok(Leased {
        lease_id,
        lease_duration,
        renewable: answer.flag("renewable")?,
        credentials: S3Credentials {
            access_key: data.text("accessKeyId")?,
            secret_key: SecretString::from(data.text("secretAccessKey")?),
            session_token: data.optional_text("sessionToken")?.map(SecretString::from),
        },
        warnings: answer.texts("warnings"),
    })
}

pub(crate) fn token_info(call: &Call<'_>, body: Vec<u8>) -> Result<TokenInfo, VaultError> {
    let mut data = Object::parse(call, &body)?.child("data")?;
    Ok(TokenInfo {
        accessor: data.text("accessor")?,
        display_name: data.optional_text("display_name")?.unwrap_or_default(),
        entity_id: data.optional_text("entity_id")?.unwrap_or_default(),
        ttl: data.seconds("ttl")?,
        // Left out for tokens that never could be.
        renewable: data.flag("renewable").unwrap_or(false),
        policies: data.texts("policies"),
        metadata: data.text_map("meta"),
    })
}

pub(crate) fn health(call: &Call<'_>, body: Vec<u8>) -> Result<Health, VaultError> {
    let mut answer = Object::parse(call, &body)?;
    Ok(Health {
        initialized: answer.flag("initialized")?,
        sealed: answer.flag("sealed")?,
        standby: answer.flag("standby")?,
        version: answer.optional_text("version")?.unwrap_or_default(),
    })
}
