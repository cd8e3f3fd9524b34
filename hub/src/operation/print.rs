//! How the administrator's commands print what the hub knows: a table for people, JSON lines for programs. Whatever others
//! wrote has its control and bidirectional characters taken out.

use std::io::{self, Write};

use entrar_core::text::presentable;
use entrar_core::time::UnixTime;
use serde_json::{Map, Value};

/// A column: the field's name on the wire, and its heading.
pub type Column = (&'static str, &'static str);

/// Prints objects as a table.
///
/// # Errors
/// Those of the output.
pub fn table(out: &mut impl Write, columns: &[Column], rows: &[Value]) -> io::Result<()> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .map(|(name, _)| cell(name, row.get(name)))
                .collect()
        })
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(at, (_, heading))| {
            let longest = cells
                .iter()
                .filter_map(|row| row.get(at))
                .map(|text| text.chars().count());
            longest.max().unwrap_or(0).max(heading.len())
        })
        .collect();
    let line = |out: &mut dyn Write, texts: &mut dyn Iterator<Item = &str>| -> io::Result<()> {
        let mut text = String::new();
        for (cell, width) in texts.zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", text.trim_end())
    };
    line(out, &mut columns.iter().map(|(_, heading)| *heading))?;
    for row in &cells {
        line(out, &mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// A value in a cell. Times are told in UTC.
fn cell(name: &str, value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::Number(number)) if name == "at" || name.ends_with("_at") => {
            let iso = number
                .as_f64()
                .map(|seconds| UnixTime::new(seconds).to_iso());
            iso.unwrap_or_default()
                .replace('T', " ")
                .trim_end_matches('Z')
                .to_owned()
        }
        Some(Value::String(text)) => match presentable(text, &[]) {
            shown if shown.is_empty() => "-".to_owned(),
            shown => shown,
        },
        Some(other) => other.to_string(),
    }
}

/// Prints objects as JSON, one on a line.
///
/// # Errors
/// Those of the output.
pub fn json_lines(out: &mut impl Write, rows: &[Value]) -> io::Result<()> {
    for row in rows {
        let shown = match row {
            Value::Object(fields) => Value::Object(presented(fields)),
            other => other.clone(),
        };
        writeln!(out, "{shown}")?;
    }
    Ok(())
}

fn presented(fields: &Map<String, Value>) -> Map<String, Value> {
    fields
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Value::String(text) => Value::String(presentable(text, &[])),
                other => other.clone(),
            };
            (name.clone(), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows() -> Vec<Value> {
        vec![
            json!({"at": 1_795_392_000.0, "user": "ada", "detail": "a\nb\u{202e}c\u{1b}[31m"}),
            json!({"at": 1_795_392_001.5, "user": "somebody", "detail": null}),
        ]
    }

    #[test]
    fn a_table_has_even_columns_and_no_control_characters() {
        let mut out = Vec::new();
        table(
            &mut out,
            &[("at", "TIME"), ("user", "USER"), ("detail", "DETAIL")],
            &rows(),
        )
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "TIME                 USER      DETAIL");
        assert!(
            lines[1].starts_with("2026-11-23 00:00:00  ada       a b"),
            "{text}"
        );
        assert!(lines[2].ends_with("somebody  -"), "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let mut out = Vec::new();
        json_lines(&mut out, &rows()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 2);
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["user"], "ada");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
