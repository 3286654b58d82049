//! The place of a result in the documentation.

use anyhow::Context as _;
use std::path::Path;

/// Replaces what stands between the two marks of this benchmark.
pub(super) fn write(path: &Path, bench: &str, section: &str) -> anyhow::Result<()> {
    let old = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let new = replace(&old, bench, section).with_context(|| {
        let [begin, end] = marks(bench);
        format!("{} lacks the lines {begin} and {end}", path.display())
    })?;
    std::fs::write(path, new).with_context(|| format!("write {}", path.display()))
}

fn marks(bench: &str) -> [String; 2] {
    ["from here", "to here"].map(|place| format!("<!-- cargo xtask bench {bench}: {place} -->"))
}

fn replace(old: &str, bench: &str, section: &str) -> Option<String> {
    let [begin, end] = marks(bench);
    let (before, rest) = old.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", section.trim_end()))
}

/// The last column of a row with a goal.
pub(super) fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "**missed**" }
}

/// `7.18 MiB`.
#[allow(clippy::cast_precision_loss, reason = "shown with two digits")]
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.2} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn only_the_section_is_replaced() {
        let [begin, end] = marks("mount");
        let other = marks("engine").join("\nother\n");
        let old = format!("# Title\n{other}\n{begin}\nold\n{end}\nend\n");
        let new = replace(&old, "mount", "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{other}\n{begin}\nnew\n{end}\nend\n"));
        assert_eq!(replace("nothing", "mount", "new"), None);
    }
}
