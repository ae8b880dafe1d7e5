//! Where the files lie that a configuration names.

use std::path::Path;

/// `files` as seen from `directory`, where the configuration is that names them, as Prometheus has it. One from the root on, and
/// one that is not given, stays.
pub fn resolve<'a>(directory: &Path, files: impl IntoIterator<Item = &'a mut String>) {
    for file in files.into_iter().filter(|file| !file.is_empty()) {
        *file = directory.join(&*file).to_string_lossy().into_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_sought_beside_the_configuration_unless_it_begins_at_the_root() {
        for (directory, file, found) in [
            ("/etc/dwcp", "am.yml", "/etc/dwcp/am.yml"),
            ("/etc/dwcp", "../am/*.json", "/etc/dwcp/../am/*.json"),
            ("/etc/dwcp", "/run/secrets/slack", "/run/secrets/slack"),
            ("/etc/dwcp", "", ""),
            ("configs", "am.yml", "configs/am.yml"),
            ("", "am.yml", "am.yml"),
        ] {
            let mut file = file.to_owned();
            resolve(Path::new(directory), [&mut file]);
            assert_eq!(file, found);
        }
    }
}
