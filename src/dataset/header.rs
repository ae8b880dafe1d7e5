//! What the columns of a recording are, by its header row.

use std::collections::HashSet;

/// Columns that are labels by their very name, in whatever case: whoever left one in trains on the answer.
const LABELS: [&str; 11] = [
    "label",
    "labels",
    "anomaly",
    "anomalies",
    "anomalous",
    "is_anomaly",
    "outlier",
    "is_outlier",
    "ground_truth",
    "y_true",
    "changepoint",
];

/// What to make of a file's columns.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// The time column; `timestamp`, or else the first, by default.
    pub time: Option<String>,
    /// Kept apart and never shown to a detector.
    pub label: Option<String>,
    /// Left out.
    pub ignore: Vec<String>,
    /// Whether a column that is named like a label is an error.
    pub refuse_labels: bool,
}

/// What a column is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Time,
    Label,
    Ignore,
    Metric,
}

/// Names that an error lists.
const MOST_LISTED: usize = 20;

/// The first of some names, and how many more there are.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let first: Vec<&str> = names.iter().take(MOST_LISTED).map(AsRef::as_ref).collect();
    let rest = names.len() - first.len();
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    first.join(", ") + &rest
}

/// What each column of a header is, where there are at most `most`.
pub(super) fn roles(header: &csv::StringRecord, columns: &Columns, most: usize) -> Result<Vec<Role>, String> {
    if header.is_empty() {
        return Err("is empty; give it a header row and rows of numbers".to_owned());
    }
    if header.iter().any(|name| name.parse::<f64>().is_ok()) {
        return Err("line 1: has numbers where names should be; give it a header row".to_owned());
    }
    if header.len() > most {
        return Err(format!(
            "line 1: has {} columns, and at most {most} are read; split the file by columns",
            header.len()
        ));
    }
    let mut names = HashSet::with_capacity(header.len());
    for (at, name) in header.iter().enumerate() {
        if name.is_empty() {
            return Err(format!("line 1: column {} has no name; give it one", at + 1));
        }
        if name.chars().any(char::is_control) {
            return Err(format!("line 1: the name {name:?} has a line break or the like; rename the column"));
        }
        if !names.insert(name) {
            return Err(format!("line 1: two columns are called {name}; rename one"));
        }
    }
    let has = |name: &String| names.contains(name.as_str());
    let named = [("--time-column", &columns.time), ("--label-column", &columns.label)];
    let named = named.into_iter().filter_map(|(flag, name)| Some((flag, name.as_ref()?)));
    for (flag, name) in named.chain(columns.ignore.iter().map(|name| ("--ignore-column", name))) {
        if !has(name) {
            let all: Vec<&str> = header.iter().collect();
            return Err(format!("{flag}: no column is called {name}; there are: {}", listed(&all)));
        }
    }
    let time = columns.time.clone().unwrap_or_else(|| {
        let usual = header.iter().find(|name| *name == "timestamp");
        usual.or_else(|| header.get(0)).unwrap_or_default().to_owned()
    });
    let role = |name: &str| {
        if name == time {
            Role::Time
        } else if columns.label.as_deref() == Some(name) {
            Role::Label
        } else if columns.ignore.iter().any(|ignored| ignored == name) {
            Role::Ignore
        } else {
            Role::Metric
        }
    };
    let roles: Vec<Role> = header.iter().map(role).collect();
    let left_in = |(name, role): (&str, &Role)| {
        *role == Role::Metric && LABELS.iter().any(|label| name.eq_ignore_ascii_case(label))
    };
    if columns.refuse_labels
        && let Some((name, _)) = header.iter().zip(&roles).find(|(name, role)| left_in((name, role)))
    {
        return Err(format!(
            "line 1: column {name} looks like labels, which must not be learned; leave it out by --ignore-column {name}"
        ));
    }
    if !roles.contains(&Role::Metric) {
        return Err(
            "line 1: has no metric beside its time column; give it more columns, with commas, semicolons or tabs between them"
                .to_owned(),
        );
    }
    Ok(roles)
}

pub(super) fn metrics_of(header: &csv::StringRecord, roles: &[Role]) -> Vec<String> {
    let metrics = header.iter().zip(roles).filter(|(_, role)| **role == Role::Metric);
    metrics.map(|(name, _)| name.to_owned()).collect()
}
