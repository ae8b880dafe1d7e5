//! A document as a tree whose scalars keep their text and style: what YAML 1.1 takes for a number, as Kubernetes does,
//! YAML 1.2 may not.

use std::collections::HashMap;

use serde_json::{Map, Value};
use yaml_rust2::Event;
use yaml_rust2::parser::{Parser, Tag};
use yaml_rust2::scanner::{Marker, TScalarStyle};

/// Nodes of a document once its aliases are written out, each counted again for what it is in; more are an attack.
const MOST: usize = 1_000_000;
/// Depth of a document.
const DEPTH: usize = 128;

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Quoted,
    Block,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Scalar { text: String, style: Style, tag: Option<String> },
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Node {
    /// Reads one document; `None` if there is nothing in it. An error has its line, counted from 1.
    pub(super) fn read(text: &str) -> Result<Option<Self>, (usize, String)> {
        let mut reader = Reader::default();
        let mut parser = Parser::new_from_str(text);
        // Event by event, as the parser's own loop goes as deep into the stack as the text is nested.
        loop {
            let (event, mark) =
                parser.next_token().map_err(|error| (error.marker().line(), error.info().to_owned()))?;
            if event == Event::StreamEnd {
                break;
            }
            reader.take(event, &mark);
            if let Some(problem) = reader.problem {
                return Err(problem);
            }
        }
        let is_nothing =
            |node: &Self| matches!(node, Self::Scalar { text, style: Style::Plain, .. } if text == "~");
        Ok(reader.root.filter(|node| !is_nothing(node)))
    }

    /// A value of our own making.
    pub(super) fn from_json(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                // People look for the name first.
                entries.sort_by_key(|(key, _)| *key != "name");
                Self::Map(
                    entries.into_iter().map(|(key, value)| (text(key), Self::from_json(value))).collect(),
                )
            }
            Value::String(string) => text(string),
            other => Self::Scalar { text: other.to_string(), style: Style::Plain, tag: None },
        }
    }

    /// As the server would see it.
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Scalar { text, style, tag } => scalar(text, *style, tag.as_deref()),
            Self::List(items) => items.iter().map(Self::to_json).collect(),
            Self::Map(entries) => {
                let entry = |(key, value): &(Self, Self)| Some((key.key()?.to_owned(), value.to_json()));
                entries.iter().filter_map(entry).collect::<Map<_, _>>().into()
            }
        }
    }

    fn key(&self) -> Option<&str> {
        match self {
            Self::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Adds as a JSON patch does. The patch was checked on the same tree, so that every parent is there.
    pub(super) fn add(&mut self, path: &[String], value: Self) {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        match self {
            Self::List(items) if rest.is_empty() => {
                let at = first.parse().unwrap_or(items.len()).min(items.len());
                items.insert(at, value);
            }
            Self::List(items) => {
                if let Some(item) = first.parse().ok().and_then(|at: usize| items.get_mut(at)) {
                    item.add(rest, value);
                }
            }
            Self::Map(entries) => match entries.iter_mut().find(|(key, _)| key.key() == Some(first)) {
                Some((_, child)) => child.add(rest, value),
                None if rest.is_empty() => entries.push((text(first), value)),
                None => {}
            },
            Self::Scalar { .. } => {}
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Scalar { .. } => 1,
            Self::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Self::Map(entries) => {
                1 + entries.iter().map(|(key, value)| key.size() + value.size()).sum::<usize>()
            }
        }
    }
}

/// A text, quoted unless nobody could take it for anything else.
fn text(text: &str) -> Node {
    const WORDS: [&str; 11] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    let style = if is_plain { Style::Plain } else { Style::Quoted };
    Node::Scalar { text: text.to_owned(), style, tag: None }
}

/// A scalar's value by YAML 1.1, as Kubernetes reads it.
fn scalar(text: &str, style: Style, tag: Option<&str>) -> Value {
    let string = || Value::from(text);
    if style != Style::Plain || tag.is_some_and(|tag| tag != "!!int" && tag != "!!bool" && tag != "!!float") {
        return string();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return true.into();
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return false.into();
        }
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let number = match digits.as_bytes() {
        [b'0', b'x', ..] => i64::from_str_radix(&digits[2..], 16).ok(),
        [b'0', b'o', ..] => i64::from_str_radix(&digits[2..], 8).ok(),
        [b'0', _, ..] if digits.bytes().all(|b| b.is_ascii_digit()) => i64::from_str_radix(digits, 8).ok(),
        _ => digits.parse().ok(),
    };
    if let Some(number) = number {
        return if text.starts_with('-') { (-number).into() } else { number.into() };
    }
    let is_number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    text.parse::<f64>().ok().filter(|_| is_number).map_or_else(string, Value::from)
}

/// A list or map that is being read.
enum Open {
    List(Vec<Node>),
    Map(Vec<(Node, Node)>, Option<Node>),
}

#[derive(Default)]
struct Reader {
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, Node>,
    size: usize,
    root: Option<Node>,
    problem: Option<(usize, String)>,
}

impl Reader {
    fn take(&mut self, event: Event, mark: &Marker) {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    TScalarStyle::Plain => Style::Plain,
                    TScalarStyle::SingleQuoted | TScalarStyle::DoubleQuoted => Style::Quoted,
                    TScalarStyle::Literal | TScalarStyle::Folded => Style::Block,
                };
                self.put(Node::Scalar { text, style, tag: tag.as_ref().map(written) }, anchor, mark);
            }
            Event::SequenceStart(anchor, _) => self.open.push((Open::List(Vec::new()), anchor)),
            Event::MappingStart(anchor, _) => self.open.push((Open::Map(Vec::new(), None), anchor)),
            Event::SequenceEnd | Event::MappingEnd => self.close(mark),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => self.put(node.clone(), 0, mark),
                None => self.fail(mark, "an alias is within what it stands for"),
            },
            _ => {}
        }
        if self.open.len() > DEPTH {
            self.fail(mark, "is nested too deep");
        }
    }

    fn fail(&mut self, mark: &Marker, told: &str) {
        self.problem = Some((mark.line(), told.to_owned()));
    }

    fn close(&mut self, mark: &Marker) {
        let Some((open, anchor)) = self.open.pop() else { return };
        let node = match open {
            Open::List(items) => Node::List(items),
            Open::Map(entries, _) => Node::Map(merged(entries)),
        };
        self.put(node, anchor, mark);
    }

    fn put(&mut self, node: Node, anchor: usize, mark: &Marker) {
        // What is put was counted when its parts were, but for an alias.
        self.size += if matches!(node, Node::Scalar { .. }) { 1 } else { node.size() };
        if self.size > MOST {
            self.fail(mark, "is too large once its aliases are written out");
            return;
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((Open::List(items), _)) => items.push(node),
            Some((Open::Map(entries, key), _)) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
        }
    }
}

/// A tag as one writes it.
fn written(tag: &Tag) -> String {
    let handle = if tag.handle == "tag:yaml.org,2002:" { "!!" } else { tag.handle.as_str() };
    format!("{handle}{}", tag.suffix)
}

/// Puts what `<<` names where it stands for; a key that is written wins.
fn merged(entries: Vec<(Node, Node)>) -> Vec<(Node, Node)> {
    let is_merge = |key: &Node| matches!(key, Node::Scalar { text, style: Style::Plain, .. } if text == "<<");
    let (merges, mut own): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| is_merge(key));
    for (_, value) in merges {
        let maps = if let Node::List(items) = value { items } else { vec![value] };
        for map in maps {
            let Node::Map(others) = map else { continue };
            for (key, value) in others {
                if own.iter().all(|(known, _)| known.key() != key.key()) {
                    own.push((key, value));
                }
            }
        }
    }
    own
}
