//! `cargo xtask docs`: the parts of the documentation that programs write, and the links between its files.

use anyhow::{Context as _, bail, ensure};
use boathouse_testkit::programs::{Profile, Programs};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the flags of the programs are listed.
const FLAGS: &str = "docs/configuration.md";
const END: &str = "<!-- generated: end -->";

/// Write what `--help` of our programs says into docs/configuration.md, and check links.
///
/// The programs are built for release first. Text between the lines `<!-- generated: PROGRAM --help -->` and
/// `<!-- generated: end -->` is replaced; values that depend on the machine are written in angle brackets.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Change nothing; fail if a file is not what would be written
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let programs = Programs::build(Profile::Release)?;
    let root = boathouse_testkit::repository();
    let path = root.join(FLAGS);
    let before = read(&path)?;
    let mut after = before.clone();
    for (program, subcommand) in [
        (&programs.node, None),
        (&programs.controller, None),
        (&programs.shim, None),
        (&programs.webhook, Some("serve")),
        (&programs.webhook, Some("certificate")),
    ] {
        let file = program.file_name().unwrap_or_default().to_string_lossy();
        let name = [Some(file.as_ref()), subcommand].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let (from, to) = section(&after, &name).with_context(|| FLAGS.to_owned())?;
        after.replace_range(from..to, &format!("\n```text\n{}\n```\n", help(program, subcommand)?));
    }
    if after != before {
        ensure!(
            !arguments.check,
            "{FLAGS} is not what the programs' --help says; `cargo xtask docs` writes it anew"
        );
        fs::write(&path, after).with_context(|| format!("write {FLAGS}"))?;
        println!("{FLAGS} written");
    }
    let dead = dead_links(&root)?;
    ensure!(dead.is_empty(), "links to nothing:\n  {}", dead.join("\n  "));
    Ok(())
}

/// The check as a step of `cargo xtask test`.
pub(crate) fn test() -> anyhow::Result<()> {
    run(&Arguments { check: true })
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// What `program --help` prints, the same on every machine. Without an environment and a terminal it shows no
/// variable's value, and its lines are as long everywhere.
fn help(program: &Path, subcommand: Option<&str>) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(subcommand)
        .arg("--help")
        .env_clear()
        .output()
        .with_context(|| format!("run {} --help", program.display()))?;
    ensure!(output.status.success(), "{} --help ended with {}", program.display(), output.status);
    let text = String::from_utf8(output.stdout).context("--help is not UTF-8")?;
    let directory = program.parent().context("a program lies in a directory")?;
    Ok(neutral(&text, &directory.to_string_lossy()))
}

/// Help text without what depends on the machine: the directory of the programs and the host's name.
fn neutral(text: &str, directory: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut flag = String::new();
    for line in text.lines() {
        let mut line = line.trim_end().replace(directory, "<directory of this program>");
        let word = line.trim_start();
        if word.starts_with('-') {
            flag = word.split([' ', ',']).next().unwrap_or_default().to_owned();
        }
        let indent = &line[..line.len() - word.len()];
        if flag == "--node-id" && word.starts_with("[default: ") {
            line = format!("{indent}[default: <host name>]");
        }
        // A default too long for its line begins on the next one.
        match lines.last_mut() {
            Some(last) if last.ends_with("[default:") => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ => lines.push(line),
        }
    }
    lines.join("\n").trim_end().to_owned()
}

/// Where the text of `program` lies between its markers.
fn section(document: &str, program: &str) -> anyhow::Result<(usize, usize)> {
    let marker = format!("<!-- generated: {program} --help -->\n");
    let Some(at) = document.find(&marker) else { bail!("no line {:?}", marker.trim_end()) };
    let from = at + marker.len();
    let Some(length) = document[from..].find(END) else { bail!("no line {END:?} after {program}") };
    Ok((from, from + length))
}

/// Links of the documentation to files of this repository, and to headings in them, that are not there.
fn dead_links(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut documents: Vec<PathBuf> = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs")).context("list docs/")? {
        let path = entry.context("list docs/")?.path();
        documents.extend((path.extension() == Some("md".as_ref())).then_some(path));
    }
    documents.sort();
    let mut dead = Vec::new();
    for document in documents {
        let directory = document.parent().unwrap_or(root);
        for (target, fragment) in targets(&read(&document)?) {
            let file = if target.is_empty() { document.clone() } else { directory.join(&target) };
            let lives = match fragment {
                Some(fragment) if file.is_file() => anchors(&read(&file)?).any(|anchor| anchor == fragment),
                _ => file.exists(),
            };
            if !lives {
                let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
                let document = document.strip_prefix(root).unwrap_or(&document).display();
                dead.push(format!("{document}: {target}{fragment}"));
            }
        }
    }
    Ok(dead)
}

/// The relative targets of inline links, and their fragments. Without a target it is this document.
fn targets(markdown: &str) -> Vec<(String, Option<&str>)> {
    markdown
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
        .map(|target| match target.split_once('#') {
            Some((file, fragment)) => (file.to_owned(), Some(fragment)),
            None => (target.to_owned(), None),
        })
        .collect()
}

/// The fragments that headings get where Markdown is shown: small letters, blanks as hyphens, no punctuation.
fn anchors(markdown: &str) -> impl Iterator<Item = String> {
    let headings = markdown.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let kept = line.trim_start_matches('#').trim().chars();
        kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn machines_do_not_show() {
        let text = "  --node-id <NAME>\n      [env: N=]\n      [default: box7]\n  --keeper <FILE>\n      \
                    [default:\n      /a/bin/keeper]   \n  --log <L>\n      [default: info]\n\n";
        let expected = "  --node-id <NAME>\n      [env: N=]\n      [default: <host name>]\n  --keeper <FILE>\n      \
                        [default: <directory of this program>/keeper]\n  --log <L>\n      [default: info]";
        assert_eq!(neutral(text, "/a/bin"), expected);
    }

    #[test]
    fn sections_are_found_by_program() {
        let document = "a\n<!-- generated: p --help -->\nold\n<!-- generated: end -->\nz";
        let (from, to) = section(document, "p").unwrap();
        assert_eq!(&document[from..to], "old\n");
        assert!(section(document, "q").unwrap_err().to_string().contains("generated: q"));
        assert!(section("<!-- generated: p --help -->\nold", "p").is_err());
    }

    #[test]
    fn links_into_the_repository_are_told_from_others() {
        let markdown = "[a](b.md) [c](https://x.y/z) [d](../e.md#f) [g](#h) `x[0](a b)`";
        let file = |name: &str| name.to_owned();
        assert_eq!(
            targets(markdown),
            [(file("b.md"), None), (file("../e.md"), Some("f")), (file(""), Some("h"))]
        );
    }

    #[test]
    fn headings_become_fragments() {
        let markdown = "# The `a`, b: c's\ntext # no\n### d-e_f 3\n";
        assert_eq!(anchors(markdown).collect::<Vec<_>>(), ["the-a-b-cs", "d-e_f-3"]);
    }

    /// What a release build is not needed for.
    #[test]
    fn no_link_of_the_documentation_is_dead() {
        assert_eq!(dead_links(&boathouse_testkit::repository()).unwrap(), Vec::<String>::new());
    }
}
