//! Go programs: built from a module pin, the checksums of every dependency in git.

use super::cache::Run;
use super::recipe::GoBuild;
use super::{PartsError, io};
use serde::Deserialize;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A `go` that reads nothing but what the recipe gives it, apart from where modules are fetched from.
fn go() -> Command {
    let mut command = Command::new("go");
    command.env("CGO_ENABLED", "0").env("GOWORK", "off").env_remove("GOFLAGS");
    command
}

const PROGRAM: &[&str] = &["build", "-buildvcs=false"];

/// Builds `package` as `go_mod` and `go_sum` pin it.
pub(super) fn build(
    run: &mut Run<'_>,
    how: GoBuild,
    package: &str,
    go_mod: &str,
    go_sum: &str,
    program: &Path,
) -> Result<(), PartsError> {
    let (verb, stamp) = match how {
        GoBuild::Program => (PROGRAM, ""),
        GoBuild::Stamped(stamp) => (PROGRAM, stamp),
        GoBuild::Tests => (&["test", "-c"][..], ""),
    };
    compile(run, verb, package, go_mod, go_sum, stamp, program)
}

fn compile(
    run: &mut Run<'_>,
    verb: &[&str],
    package: &str,
    go_mod: &str,
    go_sum: &str,
    stamp: &str,
    program: &Path,
) -> Result<(), PartsError> {
    pin_down(run, go_mod, go_sum)?;
    let ldflags = format!("-s -w {stamp}");
    let mut command = go();
    command
        .args(verb)
        .args(["-mod=readonly", "-trimpath", "-ldflags", ldflags.trim_end(), "-o"])
        .arg(program)
        .arg(package);
    run.tool("building with go", &mut command).map(drop)
}

fn pin_down(run: &Run<'_>, go_mod: &str, go_sum: &str) -> Result<(), PartsError> {
    for (file, content) in [("go.mod", go_mod), ("go.sum", go_sum)] {
        let path = run.build.join(file);
        fs::write(&path, content).map_err(io("write", &path))?;
    }
    Ok(())
}

/// Writes the files of a folder of `module`, in the order of their names and with `---` between, to `all`. Go checks
/// the module against `go_sum`.
pub(super) fn files(
    run: &mut Run<'_>,
    module: &str,
    folder: &str,
    go_mod: &str,
    go_sum: &str,
    all: &Path,
) -> Result<(), PartsError> {
    pin_down(run, go_mod, go_sum)?;
    let folder = Path::new(&download(run, module)?.dir).join(folder);
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).map_err(io("read", &folder))? {
        paths.push(entry.map_err(io("read", &folder))?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort_unstable();
    let read = |path: &std::path::PathBuf| fs::read_to_string(path).map_err(io("read", path));
    let documents = paths.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    fs::write(all, documents.join("\n---\n")).map_err(io("write", all))
}

fn download(run: &mut Run<'_>, module: &str) -> Result<Downloaded, PartsError> {
    let said = run.tool("fetching the source", go().args(["mod", "download", "-json", module]))?;
    serde_json::from_str(&said).map_err(|error| PartsError::Pin {
        part: run.part,
        detail: format!("`go mod download -json` said something unexpected: {error}"),
    })
}

/// `source.json`: which module to copy and what to change in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EditedSource {
    /// `path@version`.
    module: String,
    /// The module's checksum, as in go.sum. It is not in go.sum itself, because the module is replaced there.
    sum: String,
    /// For the reader.
    #[serde(rename = "why")]
    _why: String,
    edits: Vec<Edit>,
}

/// A replacement in one file that changes exactly `lines` lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    file: String,
    from: String,
    to: String,
    lines: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    dir: String,
    sum: String,
}

/// Copies the module beside go.mod as `src`, edits it, builds it.
pub(super) fn build_edited(
    run: &mut Run<'_>,
    package: &str,
    go_mod: &str,
    go_sum: &str,
    source: &str,
    program: &Path,
) -> Result<(), PartsError> {
    let part = run.part;
    let pin = |detail: String| PartsError::Pin { part, detail };
    let source: EditedSource =
        serde_json::from_str(source).map_err(|error| pin(format!("source.json: {error}")))?;
    let downloaded = download(run, &source.module)?;
    if downloaded.sum != source.sum {
        return Err(pin(format!(
            "{} has checksum {}, pinned is {}",
            source.module, downloaded.sum, source.sum
        )));
    }
    let copy = run.build.join("src");
    copy_sources(Path::new(&downloaded.dir), &copy)?;
    let (module, version) = source.module.split_once('@').unwrap_or((&source.module, ""));
    let own_mod = copy.join("go.mod");
    fs::write(&own_mod, format!("module {module}\n")).map_err(io("write", &own_mod))?;
    for edit in &source.edits {
        let path = copy.join(&edit.file);
        let text = fs::read_to_string(&path).map_err(io("read", &path))?;
        let (text, changed) = apply(edit, &text);
        if changed != edit.lines {
            return Err(pin(format!(
                "{}: replacing {} changed {changed} lines, expected {}",
                edit.file, edit.from, edit.lines
            )));
        }
        fs::write(&path, text).map_err(io("write", &path))?;
    }
    let stamp = format!("-X main.Version={}-edited", version.trim_start_matches('v'));
    compile(run, PROGRAM, package, go_mod, go_sum, &stamp, program)
}

fn apply(edit: &Edit, text: &str) -> (String, usize) {
    let mut changed = 0;
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| {
            let new = line.replace(&edit.from, &edit.to);
            changed += usize::from(new != line);
            new
        })
        .collect();
    (lines.join("\n"), changed)
}

/// Everything that a build reads: Go files that are not tests. The module cache is read-only; the copy is not.
fn copy_sources(from: &Path, to: &Path) -> Result<(), PartsError> {
    fs::create_dir_all(to).map_err(io("create", to))?;
    for entry in fs::read_dir(from).map_err(io("read", from))? {
        let entry = entry.map_err(io("read", from))?;
        let name = entry.file_name();
        let (source, target) = (entry.path(), to.join(&name));
        let name = name.to_string_lossy();
        if entry.file_type().map_err(io("look at", &source))?.is_dir() {
            copy_sources(&source, &target)?;
        } else if name.ends_with(".go") && !name.ends_with("_test.go") {
            let content = fs::read(&source).map_err(io("read", &source))?;
            fs::write(&target, content).map_err(io("write", &target))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn an_edit_counts_lines_not_matches() {
        let edit = Edit { file: "f.go".into(), from: "op.M".into(), to: "op.C".into(), lines: 2 };
        let (text, changed) = apply(&edit, "a(op.M, op.M)\nb\nc(op.M)\n");
        assert_eq!(text, "a(op.C, op.C)\nb\nc(op.C)\n");
        assert_eq!(changed, 2);
    }

    #[test]
    fn the_committed_edits_are_seven_lines_in_four_files() {
        let source: EditedSource = serde_json::from_str(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tools/goofys/source.json"
        )))
        .unwrap();
        assert_eq!(source.edits.iter().map(|edit| edit.lines).sum::<usize>(), 7);
        assert_eq!(source.edits.len(), 4);
    }
}
