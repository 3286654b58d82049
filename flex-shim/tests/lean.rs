//! The program stays small: what it links, and that it needs nothing of the host.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

/// Packages that would bring a runtime, TLS, HTTP, Kubernetes or a command-line parser.
const UNWANTED: [&str; 18] = [
    "tokio",
    "tonic",
    "hyper",
    "hyper-util",
    "h2",
    "tower",
    "axum",
    "reqwest",
    "rustls",
    "aws-lc-rs",
    "ring",
    "openssl",
    "kube",
    "k8s-openapi",
    "clap",
    "serde_json",
    "tracing",
    "futures",
];

#[test]
fn it_links_no_runtime_tls_or_kubernetes() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", env!("CARGO_PKG_NAME")])
        .args(["-e", "normal", "--prefix", "none", "--format", "{lib}", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let linked: Vec<&str> = tree.lines().map(str::trim).filter(|name| !name.is_empty()).collect();
    assert!(linked.contains(&"csi_proto") && linked.contains(&"prost"), "{linked:?}");
    for name in UNWANTED {
        assert!(!linked.contains(&name.replace('-', "_").as_str()), "{name} is linked: {linked:?}");
    }
}

/// ELF-64: a program header of type PT_INTERP names the dynamic loader, of type PT_DYNAMIC alone (static-pie) does
/// not need one.
#[test]
#[cfg(target_pointer_width = "64")]
fn it_needs_no_libc_of_the_hosts() {
    const PT_INTERP: u32 = 3;
    let elf = std::fs::read(env!("CARGO_BIN_EXE_boathouse")).unwrap();
    assert_eq!(&elf[..5], b"\x7fELF\x02");
    let half = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
    let table = usize::try_from(u64::from_le_bytes(elf[0x20..0x28].try_into().unwrap())).unwrap();
    let (size, count) = (half(0x36), half(0x38));
    assert!(count > 2);
    for header in (0..count).map(|n| table + n * size) {
        let kind = u32::from_le_bytes(elf[header..header + 4].try_into().unwrap());
        assert_ne!(kind, PT_INTERP, "the program is linked dynamically");
    }
}
