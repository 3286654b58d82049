//! The FlexVolume driver binary: one request to the node plugin, one JSON line.

fn main() {
    boathouse_flex_shim::run();
}
