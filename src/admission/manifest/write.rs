//! A tree as text: YAML in block style, or JSON where it came as JSON.

use super::node::{Node, Style};

/// As a document of YAML, with its last newline.
pub(super) fn yaml(node: &Node) -> String {
    let mut out = String::new();
    match node {
        Node::Map(entries) if !entries.is_empty() => map(entries, 0, &mut out),
        Node::List(items) if !items.is_empty() => list(items, 0, &mut out),
        other => {
            value(other, 0, &mut out);
            out = out.trim_start().to_owned();
        }
    }
    out
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn map(entries: &[(Node, Node)], indent: usize, out: &mut String) {
    for (at, (key, of)) in entries.iter().enumerate() {
        // The first key of an item stands behind its dash.
        if at > 0 || out.ends_with('\n') || out.is_empty() {
            pad(indent, out);
        }
        out.push_str(&inline(key));
        out.push(':');
        value(of, indent, out);
    }
}

fn list(items: &[Node], indent: usize, out: &mut String) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 || out.ends_with('\n') || out.is_empty() {
            pad(indent, out);
        }
        out.push('-');
        match item {
            Node::Map(entries) if !entries.is_empty() => {
                out.push(' ');
                map(entries, indent + 2, out);
            }
            Node::List(inner) if !inner.is_empty() => {
                out.push(' ');
                list(inner, indent + 2, out);
            }
            other => value(other, indent, out),
        }
    }
}

/// What follows a colon or a dash, with its newline.
fn value(node: &Node, indent: usize, out: &mut String) {
    match node {
        Node::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            map(entries, indent + 2, out);
        }
        Node::List(items) if !items.is_empty() => {
            out.push('\n');
            list(items, indent, out);
        }
        Node::Scalar { text, style: Style::Block, tag: None } if is_block(text) => block(text, indent, out),
        other => {
            out.push(' ');
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
}

fn inline(node: &Node) -> String {
    match node {
        Node::Map(_) => "{}".to_owned(),
        Node::List(_) => "[]".to_owned(),
        Node::Scalar { text, style, tag } => {
            let is_one_line = !text.contains(['\n', '\r']);
            let written = if *style == Style::Plain && is_one_line { text.clone() } else { quoted(text) };
            tag.as_ref().map_or_else(|| written.clone(), |tag| format!("{tag} {written}"))
        }
    }
}

/// A string of JSON is one of YAML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Whether a text survives as a block: nothing at a line's end or at the beginning that would be taken for layout.
fn is_block(text: &str) -> bool {
    let printable = |c: char| c == '\n' || c == '\t' || !c.is_control();
    let is_plain = text.chars().all(|c| printable(c) && !"\u{85}\u{2028}\u{2029}\u{feff}".contains(c));
    !text.is_empty()
        && is_plain
        && !text.starts_with([' ', '\n', '\t'])
        && !text.trim_end_matches('\n').is_empty()
}

fn block(text: &str, indent: usize, out: &mut String) {
    let body = text.trim_end_matches('\n');
    let ends = text.len() - body.len();
    out.push_str(match ends {
        0 => " |-\n",
        1 => " |\n",
        _ => " |+\n",
    });
    for line in body.split('\n') {
        if !line.is_empty() {
            pad(indent + 2, out);
            out.push_str(line);
        }
        out.push('\n');
    }
    out.extend(std::iter::repeat_n('\n', ends.saturating_sub(1)));
}

/// As indented JSON, in the order it came in.
pub(super) fn json(node: &Node) -> String {
    let mut out = String::new();
    json_value(node, 0, &mut out);
    out.push('\n');
    out
}

fn json_value(node: &Node, indent: usize, out: &mut String) {
    let items: Vec<(Option<&Node>, &Node)> = match node {
        Node::Scalar { text, style, .. } => {
            let written = if *style == Style::Plain { plain(text, node) } else { quoted(text) };
            out.push_str(&written);
            return;
        }
        Node::List(items) => items.iter().map(|item| (None, item)).collect(),
        Node::Map(entries) => entries.iter().map(|(key, value)| (Some(key), value)).collect(),
    };
    let (open, close) = if matches!(node, Node::List(_)) { ('[', ']') } else { ('{', '}') };
    out.push(open);
    for (at, (key, value)) in items.iter().enumerate() {
        out.push_str(if at > 0 { ",\n" } else { "\n" });
        pad(indent + 2, out);
        if let Some(Node::Scalar { text, .. }) = key {
            out.push_str(&quoted(text));
            out.push_str(": ");
        }
        json_value(value, indent + 2, out);
    }
    if !items.is_empty() {
        out.push('\n');
        pad(indent, out);
    }
    out.push(close);
}

/// Numbers stay as they were written; a plain word of our own is a string.
fn plain(text: &str, node: &Node) -> String {
    match node.to_json() {
        serde_json::Value::String(_) => quoted(text),
        serde_json::Value::Null => "null".to_owned(),
        _ => text.to_owned(),
    }
}
