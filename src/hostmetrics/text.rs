//! Writes metric families in the text format.

use std::io::Write;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Untyped,
}

/// A page under way. Writing to a `Vec` cannot fail, so nothing here does.
pub(super) struct Text<'a> {
    page: &'a mut Vec<u8>,
}

impl<'a> Text<'a> {
    pub(super) fn new(page: &'a mut Vec<u8>) -> Self {
        Self { page }
    }

    pub(super) fn family(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Untyped => "untyped",
        };
        let _ = write!(self.page, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.page.extend_from_slice(name.as_bytes());
        for (at, (name, value)) in labels.iter().enumerate() {
            self.page.push(if at == 0 { b'{' } else { b',' });
            let _ = write!(self.page, "{name}=\"");
            self.escaped(value);
            self.page.push(b'"');
        }
        if !labels.is_empty() {
            self.page.push(b'}');
        }
        let _ = writeln!(self.page, " {value}");
    }

    /// A family of one sample.
    pub(super) fn single(&mut self, name: &str, help: &str, kind: Kind, value: f64) {
        self.family(name, help, kind);
        self.sample(name, &[], value);
    }

    fn escaped(&mut self, value: &str) {
        for byte in value.bytes() {
            match byte {
                b'\\' => self.page.extend_from_slice(b"\\\\"),
                b'"' => self.page.extend_from_slice(b"\\\""),
                b'\n' => self.page.extend_from_slice(b"\\n"),
                byte => self.page.push(byte),
            }
        }
    }
}
