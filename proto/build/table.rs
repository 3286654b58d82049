//! Rust names of protobuf things, and the table by which tests reach a generated type by its protobuf name.

use std::fmt::Write as _;

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// Code for a slice of `(full name, fn(&[u8]) -> Result<String, DecodeError>)`: decode, then `{:?}`.
pub(crate) fn code(pool: &DescriptorPool, packages: &[(&str, &str)]) -> String {
    let mut code = String::from("&[\n");
    for message in pool.all_messages().filter(|message| !message.is_map_entry()) {
        let Some((_, module)) = packages.iter().find(|(package, _)| *package == message.package_name())
        else {
            continue;
        };
        let path = type_path(message.parent_message().as_ref(), message.name());
        let _ = writeln!(
            code,
            "({:?}, |bytes| ::prost::Message::decode(bytes).map(|message: {module}::{path}| \
             format!(\"{{message:?}}\"))),",
            message.full_name()
        );
    }
    code + "]\n"
}

/// The Rust path of a type, relative to its package's module.
pub(crate) fn type_path(parent: Option<&MessageDescriptor>, name: &str) -> String {
    let mut path = upper(name);
    let mut level = parent.cloned();
    while let Some(message) = level {
        path = format!("{}::{path}", snake(message.name()));
        level = message.parent_message();
    }
    path
}

/// prost's name of a field or module. A name it would spell otherwise does not compile, so none can slip by.
pub(crate) fn snake(name: &str) -> String {
    match name.to_snake_case() {
        keyword if ["type", "ref", "match", "move", "use", "in", "as", "mod"].contains(&keyword.as_str()) => {
            format!("r#{keyword}")
        }
        name => name,
    }
}

/// prost's name of a type or variant.
pub(crate) fn upper(name: &str) -> String {
    name.to_upper_camel_case()
}
