//! `inject`: the webhook's mutation on files.

use std::io::Read;
use std::path::Path;

use super::{Failed, Inject, injector, output};
use crate::admission::manifest;

/// Writes the manifests with their sidecars to standard output, and what there is to say to standard error.
pub(super) fn inject(args: &Inject) -> Result<(), Failed> {
    let policy = injector::policy(args.policy_file.as_deref(), args.image.as_deref())?;
    let mut all = String::new();
    for file in &args.files {
        let text = read(file)?;
        let rewritten = manifest::rewrite(&text, &policy)
            .map_err(|error| Failed::Asked(format!("{}: {error}", file.display())))?;
        for note in &rewritten.notes {
            output::note(format_args!("{}: {note}", file.display()));
        }
        // What asks in vain is counted.
        let (injected, left) = (rewritten.injected, rewritten.left);
        if left > 0 {
            let told =
                format_args!("{}: {injected} injected, {left} that ask left as they are", file.display());
            output::note(told);
        }
        if !all.is_empty() && !rewritten.text.starts_with("---") {
            if !all.ends_with('\n') {
                all.push('\n');
            }
            all.push_str("---\n");
        }
        all.push_str(&rewritten.text);
    }
    output::put(all)
}

fn read(file: &Path) -> Result<String, Failed> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    read.map_err(|error| Failed::Asked(format!("{}: cannot be read: {error}", file.display())))
}
