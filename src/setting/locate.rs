//! Where in a YAML text a key is, for messages.

/// Line of the key at `path` (`detector.zscore.window`, `scrape.targets[1].url`), counted from 1; of its nearest parent
/// that has a line of its own, where it is written inside braces. `None` where not even the first key is there.
pub fn line(text: &str, path: &str) -> Option<usize> {
    let mut found = None;
    let mut from = 0;
    let mut deeper_than = None;
    for part in path.split(['.', '[']) {
        let Some((at, indent)) = find(text, part.trim_end_matches(']'), from, deeper_than) else { break };
        found = Some(at + 1);
        // A list item's first key is on the line of its dash.
        (from, deeper_than) = (if part.ends_with(']') { at } else { at + 1 }, Some(indent));
    }
    found
}

/// First line from `from` on that has `part` as its key, or is the `part`-th item of a list.
fn find(text: &str, part: &str, from: usize, deeper_than: Option<usize>) -> Option<(usize, usize)> {
    let index = part.parse::<usize>().ok();
    let mut items = 0;
    for (at, line) in text.lines().enumerate().skip(from) {
        let indent = line.len() - line.trim_start().len();
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let is_item = content.starts_with("- ");
        if deeper_than.is_some_and(|parent| indent < parent || (indent == parent && !is_item)) {
            return None;
        }
        match index {
            Some(index) if is_item && items == index => return Some((at, indent)),
            Some(_) => items += usize::from(is_item),
            None if key(content) == part => return Some((at, indent)),
            None => {}
        }
    }
    None
}

fn key(content: &str) -> &str {
    content.trim_start_matches("- ").split(':').next().unwrap_or_default().trim_matches(['"', '\'', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_at_its_line_or_that_of_its_parent() {
        let text = "# top\nenabled: true\nscrape:\n  targets:\n    - url: a\n    - url: b\n      scope: node\n\
                    detector:\n  zscore: {window: 5}\n  adapt_after: 6h\nincident:\n  for: 3\n";
        for (path, expect) in [
            ("enabled", Some(2)),
            ("scrape.targets[0].url", Some(5)),
            ("scrape.targets[1]", Some(6)),
            ("detector.zscore.window", Some(9)),
            ("detector.adapt_after", Some(10)),
            ("incident.for", Some(12)),
            ("detector.for", Some(8)),
            ("alert.resend_delay", None),
        ] {
            assert_eq!(line(text, path), expect, "{path}");
        }
    }
}
