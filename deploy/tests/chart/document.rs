//! The table of values in docs/install.md.

use crate::golden;
use crate::schema::{Schema, Setting};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;

const BEGIN: &str = "<!-- generated: values.schema.json -->\n";
const END: &str = "<!-- generated: end -->";

fn table(settings: &[Setting]) -> String {
    let mut table = "| value | default | what it is |\n|---|---|---|\n".to_owned();
    for Setting { name, default, description } in settings {
        let default = match default {
            Value::String(text) if text.is_empty() => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        writeln!(table, "| `{name}` | {default} | {description} |").unwrap();
    }
    table
}

#[test]
fn the_guide_lists_the_values_of_the_schema() {
    let path = boathouse_testkit::repository().join("docs/install.md");
    let guide = fs::read_to_string(&path).unwrap();
    let (before, rest) = guide.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}\n{}\n{END}{after}", table(&Schema::read().settings()));
    golden::check(&path, &made);
}
