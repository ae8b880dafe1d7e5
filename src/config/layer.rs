//! A YAML text as a layer whose scalars keep their text: the key `00123456` is not the number 123456, and the label
//! `1.10` is not 1.1.

use std::collections::HashMap;

use config::{ConfigError, Map, Source, Value, ValueKind};
use yaml_rust2::Event;
use yaml_rust2::parser::Parser;
use yaml_rust2::scanner::TScalarStyle;

/// Keys and values, as `config` takes them.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Layer {
    /// Reads a text that was read strictly before; of a key without a value nothing is set.
    ///
    /// # Errors
    /// What is no YAML in it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        match read(text)?.kind {
            ValueKind::Table(keys) => Ok(Self(keys)),
            _ => Ok(Self::default()),
        }
    }

    /// Whether it sets nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

/// The value of a variable: a list or mapping in brackets, or a scalar. An empty one is the empty text.
pub(super) fn variable(text: &str) -> Result<Value, String> {
    if text.starts_with(['[', '{']) {
        return read(text);
    }
    let value = scalar(text);
    let is_nothing = value.kind == ValueKind::Nil;
    Ok(if is_nothing { Value::new(None, ValueKind::String(text.to_owned())) } else { value })
}

fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    loop {
        let (event, _) = parser.next_token().map_err(|error| error.to_string())?;
        if event == Event::StreamEnd {
            return Ok(reader.root);
        }
        reader.take(event);
    }
}

/// Truth values, and numbers that are written as they would be printed; all else is text, which becomes a number where one
/// is asked for.
fn scalar(text: &str) -> Value {
    let kind = match text {
        "" | "~" | "null" => ValueKind::Nil,
        "true" => ValueKind::Boolean(true),
        "false" => ValueKind::Boolean(false),
        ".nan" => ValueKind::Float(f64::NAN),
        ".inf" => ValueKind::Float(f64::INFINITY),
        "-.inf" => ValueKind::Float(f64::NEG_INFINITY),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) if number.to_string() == text => ValueKind::I64(number),
            (Err(_), Ok(number)) if number.to_string() == text => ValueKind::Float(number),
            _ => ValueKind::String(text.to_owned()),
        },
    };
    Value::new(None, kind)
}

/// Puts a document together from the parser's events.
#[derive(Default)]
struct Reader {
    root: Value,
    /// What is open, outermost first, with the number of its anchor.
    open: Vec<(Open, usize)>,
    anchors: HashMap<usize, Value>,
}

enum Open {
    List(Vec<Value>),
    /// With the key whose value comes next.
    Table(Map<String, Value>, Option<String>),
}

impl Reader {
    fn take(&mut self, event: Event) {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_key = matches!(self.open.last(), Some((Open::Table(_, None), _)));
                let is_plain = style == TScalarStyle::Plain && !is_key;
                let value = if is_plain { scalar(&text) } else { Value::new(None, ValueKind::String(text)) };
                self.put(value, anchor);
            }
            Event::SequenceStart(anchor, _) => self.open.push((Open::List(Vec::new()), anchor)),
            Event::MappingStart(anchor, _) => self.open.push((Open::Table(Map::new(), None), anchor)),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some((open, anchor)) = self.open.pop() else { return };
                let kind = match open {
                    Open::List(items) => ValueKind::Array(items),
                    Open::Table(keys, _) => ValueKind::Table(keys),
                };
                self.put(Value::new(None, kind), anchor);
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().unwrap_or_default();
                self.put(value, 0);
            }
            _ => {}
        }
    }

    fn put(&mut self, value: Value, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.root = value,
            Some((Open::List(items), _)) => items.push(value),
            Some((Open::Table(keys, key), _)) => match key.take() {
                None => *key = Some(value.into_string().unwrap_or_default()),
                Some(_) if value.kind == ValueKind::Nil => {}
                Some(name) => drop(keys.insert(name, value)),
            },
        }
    }
}
