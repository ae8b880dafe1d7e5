//! A signal's labels beside those of its target.

use crate::series::Labels;
use crate::signal::TAKEN_LABELS;

/// The labels left on an output, so that they can stand beside the target's and our own: as Prometheus does, one that is
/// there already is `exported_…`, and what the target says as well goes without saying.
pub(super) fn beside(output: Labels, target: &Labels) -> Labels {
    let clashes = |name: &str| TAKEN_LABELS.contains(&name) || target.get(name).is_some();
    if !output.iter().any(|(name, _)| clashes(name)) {
        return output;
    }
    let pairs = output.iter().filter(|(name, value)| target.get(name) != Some(*value));
    let name_of = |name: &str| {
        let mut name = name.to_owned();
        while clashes(&name) {
            name.insert_str(0, "exported_");
        }
        name
    };
    Labels::new(pairs.map(|(name, value)| (name_of(name), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_that_is_there_already_is_exported_and_one_that_says_the_same_goes() {
        let target = Labels::new([("instance", "web:1"), ("job", "node"), ("exported_job", "x")]);
        let output = Labels::new([
            ("device", "sda"),
            ("instance", "other"),
            ("job", "o"),
            ("severity", "bad"),
            ("le", "1"),
        ]);
        let expect = [
            ("device", "sda"),
            ("exported_instance", "other"),
            ("exported_exported_job", "o"),
            ("exported_severity", "bad"),
            ("exported_le", "1"),
        ];
        assert_eq!(beside(output, &target), Labels::new(expect));
        assert_eq!(beside(Labels::new([("instance", "web:1")]), &target), Labels::empty());
    }
}
