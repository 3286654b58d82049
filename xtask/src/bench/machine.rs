//! What a measurement was made on.

use std::fs;

/// One line: processor, cores, memory, system, kernel; how busy the machine was.
pub(super) fn describe() -> String {
    let cpuinfo = read("/proc/cpuinfo");
    let field = |name: &str| field(&cpuinfo, name).unwrap_or("unknown").to_owned();
    let virtual_machine = field("flags").split(' ').any(|flag| flag == "hypervisor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let kib: u64 = self::field(&memory, "MemTotal")
        .and_then(|total| total.split(' ').next()?.parse().ok())
        .unwrap_or_default();
    let system = read("/etc/os-release");
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux");
    let load = read("/proc/loadavg");
    format!(
        "{} × {}{}, {} GiB memory, {}, Linux {}; load average {} before the first round",
        cores,
        field("model name"),
        if virtual_machine { " (virtual machine)" } else { "" },
        (kib + (1 << 19)) >> 20,
        system.trim_matches('"'),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("unknown"),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The first `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: Fast CPU\nflags: fpu hypervisor\n";
        assert_eq!(field(text, "model name"), Some("Fast CPU"));
        assert_eq!(field(text, "model"), None);
        assert!(describe().contains("Linux"));
    }
}
