//! Kubelet's plugin registration API against upstream's `k8s.io/kubelet/pkg/apis/pluginregistration/v1/api.proto` of
//! Kubernetes 1.36: names, numbers and types, which are what is on the wire.

#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use prost_reflect::{DescriptorPool, Kind};

const OURS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Message, field, number, type, whether repeated.
const FIELDS: [(&str, &str, u32, Kind, bool); 6] = [
    ("PluginInfo", "type", 1, Kind::String, false),
    ("PluginInfo", "name", 2, Kind::String, false),
    ("PluginInfo", "endpoint", 3, Kind::String, false),
    ("PluginInfo", "supported_versions", 4, Kind::String, true),
    ("RegistrationStatus", "plugin_registered", 1, Kind::Bool, false),
    ("RegistrationStatus", "error", 2, Kind::String, false),
];

const METHODS: [(&str, &str, &str); 2] = [
    ("GetInfo", "InfoRequest", "PluginInfo"),
    ("NotifyRegistrationStatus", "RegistrationStatus", "RegistrationStatusResponse"),
];

#[test]
fn registration_is_equal_on_the_wire() {
    let pool = DescriptorPool::decode(OURS).unwrap();
    let messages = pool.all_messages().filter(|it| it.package_name() == "pluginregistration");
    let mut fields: Vec<_> = messages
        .flat_map(|it| it.fields().collect::<Vec<_>>())
        .map(|it| {
            let message = it.parent_message().name().to_owned();
            (message, it.name().to_owned(), it.number(), it.kind(), it.is_list())
        })
        .collect();
    fields.sort_by_key(|it| (it.0.clone(), it.2));
    let expected = FIELDS.map(|(message, field, number, kind, list)| {
        (message.to_owned(), field.to_owned(), number, kind, list)
    });
    assert_eq!(fields, expected);

    let service = pool.get_service_by_name("pluginregistration.Registration").unwrap();
    let methods: Vec<_> = service
        .methods()
        .map(|it| (it.name().to_owned(), it.input().name().to_owned(), it.output().name().to_owned()))
        .collect();
    let expected = METHODS.map(|(name, input, output)| (name.into(), input.into(), output.into()));
    assert_eq!(methods, expected);
}
